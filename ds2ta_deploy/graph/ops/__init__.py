"""The ops of the integer graph, one class each: the only place that says what an op means."""

from ds2ta_deploy.graph.ops.attention import Lookup, MatMul
from ds2ta_deploy.graph.ops.base import DTYPE_LIMITS, Dtype, Op, State, ValueType
from ds2ta_deploy.graph.ops.elementwise import Add, InputTable, MaxPool2d, Mul, ReduceSum
from ds2ta_deploy.graph.ops.heads import MergeHeads, SplitHeads
from ds2ta_deploy.graph.ops.layout import Chunk, Pixels, Tokens, Unchunk
from ds2ta_deploy.graph.ops.linear import Conv2d, Linear, Readout
from ds2ta_deploy.graph.ops.saccade import Threshold, TimeMix
from ds2ta_deploy.graph.ops.temporal import Lif, Repeat, TemporalWindow

#: Every op, by the name that a serialized graph uses.
OPS: dict[str, type[Op]] = {
    op.__name__: op
    for op in (
        Add,
        Chunk,
        Conv2d,
        InputTable,
        Lif,
        Linear,
        Lookup,
        MatMul,
        MaxPool2d,
        MergeHeads,
        Mul,
        Pixels,
        Readout,
        ReduceSum,
        Repeat,
        SplitHeads,
        TemporalWindow,
        Threshold,
        TimeMix,
        Tokens,
        Unchunk,
    )
}

__all__ = [
    "DTYPE_LIMITS",
    "OPS",
    "Add",
    "Chunk",
    "Conv2d",
    "Dtype",
    "InputTable",
    "Lif",
    "Linear",
    "Lookup",
    "MatMul",
    "MaxPool2d",
    "MergeHeads",
    "Mul",
    "Op",
    "Pixels",
    "Readout",
    "ReduceSum",
    "Repeat",
    "SplitHeads",
    "State",
    "TemporalWindow",
    "Threshold",
    "TimeMix",
    "Tokens",
    "Unchunk",
    "ValueType",
]
