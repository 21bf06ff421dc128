"""Ops without weights: InputTable, MaxPool2d, Add, Mul, ReduceSum."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.graph.intervals import IntArray, Interval
from ds2ta_deploy.graph.ops.base import Axes, Dtype, Op, ValueType


@dataclass(frozen=True, eq=False)
class InputTable(Op):
    """Turn a pixel or event count into the quantized normalised value: ``out[..., c] = table[c, in[..., c]]``.

    The table is baked when the model is frozen, so normalisation costs no arithmetic and the zero
    padding of the first convolution is exactly zero.

    Attributes:
        table: int16 ``[C, 256]``.
        still: 1 when the input is one picture ``[B, H, W, C]``, which gets a time axis of one step;
            0 for frames ``[T, B, H, W, C]``.

    """

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((4, 5),)
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("uint8",),)
    ARRAYS: ClassVar[dict[str, tuple[int, tuple[str, ...]]]] = {"table": (2, ("int16",))}
    INTEGERS: ClassVar[dict[str, tuple[int, int]]] = {"still": (0, 1)}

    table: NDArray[np.int16]
    still: int

    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Add the time axis to still pictures."""
        shape = (1, *inputs[0].shape) if self.still else inputs[0].shape
        self.require(
            len(shape) == 5 and shape[-1] == self.table.shape[0] and self.table.shape[1] == 256,
            f"has a table {self.table.shape} for an input {inputs[0].shape}",
        )
        return (ValueType(shape, "int16"),)

    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """Per channel, the smallest and largest entry."""
        table = self.table.astype(np.int64)
        return (Interval.of(table.min(axis=1), table.max(axis=1)),)

    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Look up."""
        values = self.table.astype(np.int64)[np.arange(self.table.shape[0]), inputs[0]]
        return (values[None] if self.still else values,)

    def infer_axes(self, inputs: Sequence[Axes]) -> tuple[Axes, ...]:
        """Add the time axis to still pictures."""
        return (("time step", *inputs[0]) if self.still else inputs[0],)

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """The pixel and its channel's table."""
        return {"input": inputs[0][place[1:] if self.still else place], "table": self.table[place[-1]].astype(np.int64)}


@dataclass(frozen=True, eq=False)
class MaxPool2d(Op):
    """3x3 maximum over two neighbouring axes, of what lies inside; of spikes that is OR.

    ``out[y, x] = max over i, j in -1..1 of in[stride y + i, stride x + j]``, places outside left out.

    Attributes:
        stride: 2 halves both sizes, rounding up; 1 keeps them.
        axis: the first of the two axes: 2 for rows and columns of ``[T, B, H, W, C]``, 3 for tokens and
            channels of ``[T, B, heads, N, d]``.

    Shapes: ``[T, B, H, W, C]`` -> ``[T, B, ceil(H / stride), ceil(W / stride), C]`` for axis 2.

    """

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((5,),)
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("uint8", "int32"),)
    INTEGERS: ClassVar[dict[str, tuple[int, int]]] = {"stride": (1, 2), "axis": (2, 3)}

    stride: int = 2
    axis: int = 2

    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Divide the pooled sizes by the stride, rounding up."""
        shape = list(inputs[0].shape)
        for axis in (self.axis, self.axis + 1):
            shape[axis] = -(-(shape[axis] or 0) // self.stride)
        return (ValueType(tuple(shape), inputs[0].dtype),)

    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """A maximum lies between the bounds of what it compares; channels that are pooled share theirs."""
        return (inputs[0] if self.axis == 2 else inputs[0].over_channels(),)

    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Take the maximum of three rows, then of three columns; an edge repeated outside changes no maximum."""
        pooled = inputs[0]
        for axis in (self.axis, self.axis + 1):
            margins = [(0, 0)] * 5
            margins[axis] = (1, 1)
            padded, size = np.pad(pooled, margins, mode="edge"), -(-pooled.shape[axis] // self.stride)
            stop = self.stride * (size - 1) + 1
            parts = [padded.take(range(start, start + stop, self.stride), axis) for start in range(3)]
            pooled = np.maximum.reduce(parts)
        return (pooled,)

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """The 3x3 neighbourhood, as far as it lies inside."""
        around = [slice(position, position + 1) for position in place]
        for axis in (self.axis, self.axis + 1):
            middle = self.stride * place[axis]
            around[axis] = slice(max(middle - 1, 0), middle + 2)
        seen: IntArray = inputs[0][tuple(around)].squeeze(tuple(axis for axis in range(5) if axis not in (self.axis, self.axis + 1)))
        return {"inputs": seen}


@dataclass(frozen=True, eq=False)
class Add(Op):
    """Residual sum ``out = left + right``: of spikes a small count (uint8), of currents a current (int32).

    Shapes: two equal ones -> the same.

    """

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((4, 5), (4, 5))
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("uint8", "int32"), ("uint8", "int32"))

    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Keep the shape."""
        self.require(inputs[0] == inputs[1], f"cannot add {inputs[1]} to {inputs[0]}")
        return (inputs[0],)

    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """Add the bounds."""
        return (inputs[0] + inputs[1],)

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """Both summands."""
        return {"left": inputs[0][place], "right": inputs[1][place]}

    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Add."""
        return (inputs[0] + inputs[1],)


@dataclass(frozen=True, eq=False)
class Mul(Op):
    """Product element by element, ``out = left * right``; of spikes that is AND, of a mask and spikes a selection.

    Shapes: of equal rank; an axis of size 1 on one side goes with every position of the other. uint8 times
    uint8 is uint8, int32 times int32 is int32.

    """

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((4, 5), (4, 5))
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("uint8", "int32"), ("uint8", "int32"))

    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Take the larger size of each axis."""
        left, right = inputs
        pairs = list(zip(left.shape, right.shape, strict=False))
        fits = len(left.shape) == len(right.shape) and left.dtype == right.dtype and all(a == b or 1 in (a, b) for a, b in pairs)
        self.require(fits and left.shape[0] == right.shape[0], f"cannot multiply {left} by {right}")
        return (ValueType(tuple(b if a == 1 else a for a, b in pairs), left.dtype),)

    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """A product is extreme at the ends of both intervals."""
        left, right = inputs
        corners = np.stack(np.broadcast_arrays(*(a * b for a in (left.low, left.high) for b in (right.low, right.high))))
        return (Interval.of(corners.min(axis=0), corners.max(axis=0)),)

    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Multiply."""
        return (inputs[0] * inputs[1],)

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """Both factors."""
        left, right = np.broadcast_arrays(*inputs)
        return {"left": left[place], "right": right[place]}


@dataclass(frozen=True, eq=False)
class ReduceSum(Op):
    """Sum over one axis, which stays with size 1: ``out = sum over axis of in``.

    Attributes:
        axis: 2, 3 or 4; never time or batch.

    Shapes: ``[T, B, ..., size, ...]`` -> ``[T, B, ..., 1, ...]`` int32.

    """

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((4, 5),)
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("uint8", "int32"),)
    INTEGERS: ClassVar[dict[str, tuple[int, int]]] = {"axis": (2, 4)}

    axis: int

    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Leave one position."""
        shape = inputs[0].shape
        self.require(self.axis < len(shape), f"cannot sum axis {self.axis} of {shape}")
        return (ValueType((*shape[: self.axis], 1, *shape[self.axis + 1 :]), "int32"),)

    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """Add up the bounds of the positions; a running sum starts at zero."""
        rank, size = len(types[0].shape), types[0].shape[self.axis] or 0
        (x,), behind = inputs, rank - self.axis
        if x.low.ndim >= behind and x.low.shape[-behind] == size:
            total = Interval.of(x.low.sum(axis=-behind, keepdims=True), x.high.sum(axis=-behind, keepdims=True))
        else:  # one bound for every position
            total = Interval.of(x.low * size, x.high * size)
        return (total.with_zero(),)

    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Sum."""
        return (inputs[0].sum(axis=self.axis, keepdims=True),)

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """The summands."""
        along: tuple[Any, ...] = (*place[: self.axis], slice(None), *place[self.axis + 1 :])
        return {"summands": inputs[0][along]}
