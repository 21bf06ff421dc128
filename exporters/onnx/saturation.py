"""Prove that no integer kernel can saturate or wrap on any CPU.

Kernels for uint8 x int8 on CPUs without VNNI add two products in 16 bits and saturate there. Two
products of operands up to a and w stay exact while ``2 a w <= 2^15 - 1``; with spikes and small counts
on one side that holds for every int8 weight.
"""

from collections.abc import Sequence

import numpy as np

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.exporters.onnx.bodies import PLANE_BITS
from ds2ta_deploy.exporters.onnx.patterns import Attention
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph

#: Largest magnitude of a pair of products that 16-bit kernels add without saturating.
_PAIR_LIMIT = 2**15 - 1

_INT8_MAX = 127

#: Largest k for which ``2^k`` is an int32 divisor. A product within 31 bits, shifted further, is 0 or -1 already.
MAX_SHIFT = 30


def is_wide(graph: Graph, op: ops.Linear | ops.Conv2d) -> bool:
    """Whether the product needs the two-plane form: 16-bit weights, or inputs that are no uint8."""
    return op.weight.dtype != np.int8 or graph.types[op.inputs[0]].dtype != "uint8"


def require_exact_product(graph: Graph, op: ops.Linear | ops.Conv2d | ops.Readout) -> None:
    """Raise UnsupportedError (DS2TA-231) unless the product is exact on every CPU."""
    interval, largest = graph.ranges[op.inputs[0]], int(np.abs(op.weight.astype(np.int64)).max(initial=0))
    if not isinstance(op, ops.Readout) and is_wide(graph, op):
        limit = 2 ** (2 * PLANE_BITS - 1)
        if max(-interval.minimum, interval.maximum, largest) >= limit:
            what = f"inputs in [{interval.minimum}, {interval.maximum}] or weights up to {largest} do not fit two {PLANE_BITS}-bit planes"
            raise UnsupportedError(Problem("DS2TA-231", what, op.name, "use fewer first-layer bits"))
    elif 2 * interval.maximum * largest > _PAIR_LIMIT:
        what = f"inputs up to {interval.maximum} times weights up to {largest} could saturate 16-bit pairs of products"
        raise UnsupportedError(Problem("DS2TA-231", what, op.name, "use fewer weight bits for this layer"))


def require_exact_attention(graph: Graph, name: str, parts: Attention) -> None:
    """Raise UnsupportedError (DS2TA-231) unless both products of the attention are exact on every CPU."""
    query, key, value = (graph.ranges[source].maximum for source in parts.sources)
    if max(key, value) > _INT8_MAX or 2 * query * key > _PAIR_LIMIT or 2 * 255 * value > _PAIR_LIMIT:
        what = f"queries up to {query}, keys up to {key} or values up to {value} could saturate 16-bit pairs of products"
        raise UnsupportedError(Problem("DS2TA-231", what, name))


def require_shiftable(graph: Graph, window: ops.TemporalWindow, exponents: Sequence[int]) -> None:
    """Raise UnsupportedError (DS2TA-231) when a tap's right shift is longer than an int32 division can express."""
    product = graph.ranges[window.inputs[0]]
    if -min(exponents) > MAX_SHIFT and product.bits > MAX_SHIFT + 1:
        what = f"a tap shifts by {-min(exponents)} bits a product that needs {product.bits}"
        raise UnsupportedError(Problem("DS2TA-231", what, window.name, "use a shorter window or fewer weight bits"))
