"""Refuse what an integer kernel could saturate or what a shift could not express; the rule is in ``ds2ta_deploy.graph.products``."""

from collections.abc import Sequence

import numpy as np

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.products import PLANE_BITS, products_of

#: Largest k for which ``2^k`` is an int32 divisor. A product within 31 bits, shifted further, is 0 or -1 already.
MAX_SHIFT = 30


def require_exact(graph: Graph, op: ops.Linear | ops.Conv2d | ops.Readout | ops.MatMul) -> None:
    """Raise UnsupportedError (DS2TA-231) unless the op's products are exact on every CPU."""
    interval = graph.ranges[op.inputs[0]]
    if isinstance(op, ops.MatMul):
        other = graph.ranges[op.inputs[1]]
        what = f"a map up to {interval.maximum} times values up to {other.maximum} could saturate 16-bit pairs of products"
        mend = "use a table of smaller entries"
    else:
        largest = int(np.abs(op.weight.astype(np.int64)).max(initial=0))
        what = f"inputs up to {interval.maximum} times weights up to {largest} could saturate 16-bit pairs of products"
        mend = "use fewer weight bits for this layer"
        limit = 2 ** (2 * PLANE_BITS - 1)
        if (op.weight.dtype != np.int8 and largest >= limit) or max(-interval.minimum, interval.maximum) >= limit:
            what = f"inputs in [{interval.minimum}, {interval.maximum}] or weights up to {largest} do not fit two {PLANE_BITS}-bit planes"
            raise UnsupportedError(Problem("DS2TA-231", what, op.name, mend))
    if not all(product.exact for product in products_of(graph, op)):
        raise UnsupportedError(Problem("DS2TA-231", what, op.name, mend))


def require_shiftable(graph: Graph, window: ops.TemporalWindow, exponents: Sequence[int]) -> None:
    """Raise UnsupportedError (DS2TA-231) when a tap's right shift is longer than an int32 division can express."""
    product = graph.ranges[window.inputs[0]]
    if -min(exponents) > MAX_SHIFT and product.bits > MAX_SHIFT + 1:
        what = f"a tap shifts by {-min(exponents)} bits a product that needs {product.bits}"
        raise UnsupportedError(Problem("DS2TA-231", what, window.name, "use a shorter window or fewer weight bits"))
