"""How much arithmetic an op is."""

import numpy as np

from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import Conv2d, Linear, MatMul, Mul, Op, Readout, TimeMix


def dense_operations(graph: Graph, op: Op) -> int:
    """Multiply-accumulates of one op for one sample when nothing is skipped; plain sums count nothing."""
    size = int(np.prod([size or 1 for size in graph.types[op.outputs[0]].shape]))
    match op:
        case Linear() | Conv2d():
            return size * int(np.prod(op.weight.shape[1:]))
        case MatMul():
            return size * op.terms(graph.types[op.inputs[0]])
        case Mul():
            return size
        case TimeMix():
            steps = len(op.matrix)
            return size // steps * (steps * (steps + 1) // 2)
        case Readout():
            tokens = graph.types[op.inputs[0]].shape
            return size * (tokens[-1] or 0) * (tokens[0] or 0) * (tokens[2] or 0)
        case _:
            return 0
