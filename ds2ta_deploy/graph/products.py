"""Every integer product as the uint8 x int8 products that compute it, and why none of them can saturate on any CPU.

Kernels for uint8 x int8 on CPUs without VNNI (``VPMADDUBSW``) add two products in 16 bits and saturate
there. A pair ``a_0 w_0 + a_1 w_1`` of operands up to a and w is exact while ``2 a w <= 2^15 - 1``; with
spikes and small counts on one side that holds for every int8 weight. Wider operands are split into
planes first, ``x = upper 2^bits + lower``, the upper plane shifted into uint8 by a zero point.
"""

from dataclasses import dataclass

import numpy as np

from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.intervals import Interval
from ds2ta_deploy.graph.ops import Conv2d, Linear, Lookup, MatMul, Op, Readout

#: Largest magnitude of a pair of products that 16-bit kernels add without saturating.
PAIR_LIMIT = 2**15 - 1

#: Bits of the lower plane of the first layer's inputs and weights, and of an attention map.
PLANE_BITS, MAP_PLANE_BITS = 7, 8

#: Added to the upper plane of an input, or of an attention map, to make it unsigned.
UPPER_ZERO, MAP_UPPER_ZERO = 64, 128

_UINT8, _INT8 = (0, 255), (-128, 127)


@dataclass(frozen=True)
class Product:
    """One uint8 x int8 product, or one pair of planes of a wider one.

    Attributes:
        op: the op that it belongs to.
        part: ``whole``, or which planes: ``upper x lower``; ``upper`` and ``lower`` where only one side is split.
        unsigned: proven interval of the uint8 operand, its zero point added.
        signed: proven interval of the int8 operand.

    """

    op: str
    part: str
    unsigned: tuple[int, int]
    signed: tuple[int, int]

    @property
    def pair(self) -> int:
        """Bound of ``|a_0 w_0 + a_1 w_1|``."""
        return 2 * self.unsigned[1] * max(-self.signed[0], self.signed[1])

    @property
    def exact(self) -> bool:
        """Whether both operands fit 8 bits and no pair can saturate."""
        return _within(self.unsigned, _UINT8) and _within(self.signed, _INT8) and self.pair <= PAIR_LIMIT


def products(graph: Graph) -> list[Product]:
    """Return every integer product of the graph, in graph order."""
    return [product for op in graph for product in products_of(graph, op)]


def products_of(graph: Graph, op: Op) -> list[Product]:
    """Return the products that compute one op; none when it multiplies nothing."""
    match op:
        case Linear() | Conv2d() | Readout():
            interval = graph.ranges[op.inputs[0]]
            inputs = _ends(interval.with_zero() if isinstance(op, Conv2d) else interval)
            weight = int(op.weight.min()), int(op.weight.max())
            if not isinstance(op, Readout) and is_wide(graph, op):
                return _planes(op.name, inputs, weight)
            return [Product(op.name, "whole", inputs, weight)]
        case MatMul():
            left, right = (_ends(graph.ranges[name]) for name in op.inputs)
            if graph.types[op.inputs[0]].dtype == "uint8" or one_map_plane(graph):
                return [Product(op.name, "whole", left, right)]
            upper = left[0] // 2**MAP_PLANE_BITS + MAP_UPPER_ZERO, left[1] // 2**MAP_PLANE_BITS + MAP_UPPER_ZERO
            return [Product(op.name, "upper", upper, right), Product(op.name, "lower", (0, 2**MAP_PLANE_BITS - 1), right)]
        case _:
            return []


def is_wide(graph: Graph, op: Linear | Conv2d) -> bool:
    """Whether the product needs the two-plane form: 16-bit weights, or inputs that are no uint8."""
    return op.weight.dtype != np.int8 or graph.types[op.inputs[0]].dtype != "uint8"


def one_map_plane(graph: Graph) -> bool:
    """Whether every attention map of the graph is uint8 as it is; one form serves all blocks."""
    return all(_within(_ends(graph.ranges[op.outputs[0]]), _UINT8) for op in graph if isinstance(op, Lookup))


def _planes(name: str, inputs: tuple[int, int], weight: tuple[int, int]) -> list[Product]:
    lower = (0, 2**PLANE_BITS - 1)
    upper_inputs = inputs[0] // 2**PLANE_BITS + UPPER_ZERO, inputs[1] // 2**PLANE_BITS + UPPER_ZERO
    upper_weight = weight[0] // 2**PLANE_BITS, weight[1] // 2**PLANE_BITS
    sides = (("upper", upper_inputs, upper_weight), ("lower", lower, lower))
    return [Product(name, f"{left} x {right}", unsigned, signed) for left, unsigned, _ in sides for right, _, signed in sides]


def _ends(interval: Interval) -> tuple[int, int]:
    return interval.minimum, interval.maximum


def _within(inner: tuple[int, int], outer: tuple[int, int]) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]
