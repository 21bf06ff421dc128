"""Ops without weights: InputTable, MaxPool2d, Add, Tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

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
    """3x3 maximum of stride 2 and padding 1; of spikes that is OR.

    Shapes: ``[T, B, H, W, C]`` -> ``[T, B, ceil(H/2), ceil(W/2), C]``, values >= 0.

    """

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((5,),)
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("uint8",),)

    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Halve height and width, rounding up."""
        time, batch, height, width, channels = inputs[0].shape
        return (ValueType((time, batch, ((height or 0) + 1) // 2, ((width or 0) + 1) // 2, channels), inputs[0].dtype),)

    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """A maximum lies between the bounds of what it compares, padding included."""
        return (inputs[0].with_zero(),)

    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Take the maximum of three rows, then of three columns."""
        pooled = inputs[0]
        for axis in (2, 3):
            margins = [(0, 0)] * 5
            margins[axis] = (1, 1)
            padded, size = np.pad(pooled, margins), (pooled.shape[axis] + 1) // 2
            parts = [padded.take(range(start, start + 2 * size - 1, 2), axis) for start in range(3)]
            pooled = np.maximum.reduce(parts)
        return (pooled,)

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """The 3x3 neighbourhood, zero outside the picture."""
        time, sample, row, column, channel = place
        padded = np.pad(inputs[0][time, sample, :, :, channel], 1)
        return {"inputs": padded[2 * row : 2 * row + 3, 2 * column : 2 * column + 3]}


@dataclass(frozen=True, eq=False)
class Add(Op):
    """Residual sum of spikes and counts: ``out = left + right``, a small count, never a bit.

    Shapes: two equal ones, uint8 -> the same.

    """

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((4, 5), (4, 5))
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("uint8",), ("uint8",))

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
class Tokens(Op):
    """Make every pixel of the feature map a token: ``[T, B, H, W, C] -> [T, B, H W, C]``, row by row."""

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((5,),)
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("uint8",),)
    REARRANGES: ClassVar[bool] = True

    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Join height and width."""
        time, batch, height, width, channels = inputs[0].shape
        return (ValueType((time, batch, (height or 0) * (width or 0), channels), inputs[0].dtype),)

    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """Nothing changes."""
        return (inputs[0],)

    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Reshape."""
        time, batch, height, width, channels = inputs[0].shape
        return (inputs[0].reshape(time, batch, height * width, channels),)

    def infer_axes(self, inputs: Sequence[Axes]) -> tuple[Axes, ...]:
        """Row and column become the token."""
        return ((*inputs[0][:2], "token", inputs[0][-1]),)

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """The pixel."""
        time, sample, token, channel = place
        return {"input": inputs[0][(time, sample, *divmod(token, inputs[0].shape[3]), channel)]}
