"""Heads: SplitHeads and MergeHeads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ds2ta_deploy.graph.intervals import IntArray, Interval
from ds2ta_deploy.graph.ops.base import Axes, Dtype, Op, ValueType


@dataclass(frozen=True, eq=False)
class SplitHeads(Op):
    """``[T, B, N, D] -> [T, B, heads, N, D / heads]``.

    Attributes:
        heads: number of heads; divides D.

    """

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((4,),)
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("uint8",),)
    INTEGERS: ClassVar[dict[str, tuple[int, int]]] = {"heads": (1, 4096)}
    REARRANGES: ClassVar[bool] = True

    heads: int

    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Split the last axis."""
        time, batch, tokens, width = inputs[0].shape
        self.require(width is not None and width % self.heads == 0, f"cannot split {width} channels into {self.heads} heads")
        return (ValueType((time, batch, self.heads, tokens, (width or 0) // self.heads), inputs[0].dtype),)

    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """One interval around all channels."""
        return (inputs[0].hull(),)

    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Split and move the heads before the tokens."""
        time, batch, tokens, width = inputs[0].shape
        return (inputs[0].reshape(time, batch, tokens, self.heads, width // self.heads).swapaxes(2, 3),)

    def infer_axes(self, inputs: Sequence[Axes]) -> tuple[Axes, ...]:
        """The head comes before the token."""
        return ((*inputs[0][:2], "head", *inputs[0][2:]),)

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """The same element in its channel."""
        time, sample, head, token, channel = place
        return {"input": inputs[0][time, sample, token, head * (inputs[0].shape[-1] // self.heads) + channel]}


@dataclass(frozen=True, eq=False)
class MergeHeads(Op):
    """``[T, B, heads, N, d] -> [T, B, N, heads * d]``, the inverse of :class:`SplitHeads`."""

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((5,),)
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("uint8", "int32"),)
    REARRANGES: ClassVar[bool] = True

    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Join heads and channels."""
        time, batch, heads, tokens, width = inputs[0].shape
        return (ValueType((time, batch, tokens, (heads or 0) * (width or 0)), inputs[0].dtype),)

    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """Every channel has the interval of its head."""
        heads, width = types[0].shape[2] or 0, types[0].shape[4] or 0
        rows = inputs[0].over_channels()
        low, high = (np.repeat(np.broadcast_to(bound, (heads, 1, 1)).reshape(heads), width) for bound in (rows.low, rows.high))
        return (Interval.of(low, high),)

    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Move the heads behind the tokens and join."""
        time, batch, heads, tokens, width = inputs[0].shape
        return (inputs[0].swapaxes(2, 3).reshape(time, batch, tokens, heads * width),)

    def infer_axes(self, inputs: Sequence[Axes]) -> tuple[Axes, ...]:
        """The head goes into the channel."""
        return ((*inputs[0][:2], *inputs[0][3:]),)

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """The same element in its head."""
        time, sample, token, channel = place
        head, within = divmod(channel, inputs[0].shape[-1])
        return {"input": inputs[0][time, sample, head, token, within]}
