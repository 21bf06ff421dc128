"""Every integer product as the uint8 x int8 products that compute it, and why none of them can saturate on any CPU.

Kernels for uint8 x int8 on CPUs without VNNI (``VPMADDUBSW``) add two products in 16 bits and saturate
there. A pair ``a_0 w_0 + a_1 w_1`` of operands up to a and w is exact while ``2 a w <= 2^15 - 1``; with
spikes and small counts on one side that holds for every int8 weight. Wider operands are split into
planes first, ``x = upper 2^bits + lower``, the upper plane shifted into uint8 by a zero point; integers of more
than two planes are cut again and again.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.intervals import Interval
from ds2ta_deploy.graph.ops import DTYPE_LIMITS, Conv2d, Linear, Lookup, MatMul, Op, Readout

#: Largest magnitude of a pair of products that 16-bit kernels add without saturating.
PAIR_LIMIT = 2**15 - 1

#: Bits of every lower plane, and of the lower plane of an attention map.
PLANE_BITS, MAP_PLANE_BITS = 7, 8

#: Added to the upper plane of an input, or of an attention map, to make it unsigned.
UPPER_ZERO, MAP_UPPER_ZERO = 64, 128

#: Planes that any int32 fits.
MOST_PLANES = 5

_UINT8, _INT8 = (0, 255), (-128, 127)

#: Number of planes of the left and of the right side of a product.
Split = tuple[int, int]


@dataclass(frozen=True)
class Product:
    """One uint8 x int8 product, or one pair of planes of a wider one.

    Attributes:
        op: the op that it belongs to.
        part: ``whole``, or which planes: ``upper x lower``, ``whole x upper``, ``plane 2 x plane 0``; ``upper`` and
            ``lower`` of an attention map, whose other side is whole.
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
    return [part for op in graph for part in products_of(graph, op)]


def products_of(graph: Graph, op: Op) -> list[Product]:
    """Return the products that compute one op; none when it multiplies nothing."""
    match op:
        case Linear() | Conv2d() | Readout():
            return _split(op.name, *_operands(graph, op), split_of(graph, op))
        case MatMul():
            left, right = _operands(graph, op)
            if graph.types[op.inputs[0]].dtype != "int16":
                return _split(op.name, left, right, split_of(graph, op))
            if one_map_plane(graph):
                return [Product(op.name, "whole", left, right)]
            upper = left[0] // 2**MAP_PLANE_BITS + MAP_UPPER_ZERO, left[1] // 2**MAP_PLANE_BITS + MAP_UPPER_ZERO
            return [Product(op.name, "upper", upper, right), Product(op.name, "lower", (0, 2**MAP_PLANE_BITS - 1), right)]
        case _:
            return []


def split_of(graph: Graph, op: Linear | Conv2d | Readout | MatMul) -> Split:
    """Return into how many planes the two sides of a product are cut.

    Weights say so by their type, one form for all layers: int16 weights have two planes, and both sides have two where the
    inputs are int16. Two activations are cut as far as their proven intervals ask for: into the fewest products that are
    exact, and of equally few those with the fewest planes on the left. Attention maps have a form of their own.
    """
    if isinstance(op, MatMul):
        left, right = _operands(graph, op)
        counts = range(1, MOST_PLANES + 1)
        splits: list[Split] = sorted(product(counts, counts), key=lambda split: (split[0] * split[1], split[0]))
        return next(split for split in splits if all(part.exact for part in _split(op.name, left, right, split)))
    if graph.types[op.inputs[0]].dtype != "uint8":
        return 2, 2
    return 1, 1 if op.weight.dtype == np.int8 else 2


def one_map_plane(graph: Graph) -> bool:
    """Whether every attention map of the graph is uint8 as it is; one form serves all blocks."""
    return all(_within(_ends(graph.ranges[op.outputs[0]]), _UINT8) for op in graph if isinstance(op, Lookup))


def _operands(graph: Graph, op: Linear | Conv2d | Readout | MatMul) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return what both sides lie in, the padding included."""
    left = graph.ranges[op.inputs[0]]
    if isinstance(op, MatMul):
        limits = DTYPE_LIMITS["int32"]  # what is not proved to fit is refused elsewhere
        return _ends(left.clip(*limits)), _ends(graph.ranges[op.inputs[1]].clip(*limits))
    return _ends(left.with_zero() if isinstance(op, Conv2d) else left), (int(op.weight.min()), int(op.weight.max()))


def _split(name: str, left: tuple[int, int], right: tuple[int, int], split: Split) -> list[Product]:
    if split == (1, 1):
        return [Product(name, "whole", left, right)]
    sides = _planes(left, split[0], UPPER_ZERO), _planes(right, split[1], 0)
    return [Product(name, f"{one} x {other}", unsigned, signed) for (one, unsigned), (other, signed) in product(*sides)]


def _planes(interval: tuple[int, int], count: int, zero: int) -> list[tuple[str, tuple[int, int]]]:
    """Return name and interval of every plane, the topmost first; ``zero`` is added to that one."""
    if count == 1:
        return [("whole", interval)]
    called = ["upper", "lower"] if count == 2 else [f"plane {number}" for number in reversed(range(count))]
    unit = 2 ** (PLANE_BITS * (count - 1))
    top = interval[0] // unit + zero, interval[1] // unit + zero
    return list(zip(called, [top, *[(0, 2**PLANE_BITS - 1)] * (count - 1)], strict=True))


def _ends(interval: Interval) -> tuple[int, int]:
    return interval.minimum, interval.maximum


def _within(inner: tuple[int, int], outer: tuple[int, int]) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]
