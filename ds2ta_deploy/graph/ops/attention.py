"""Attention ops: SplitHeads, MergeHeads, MatMul and Lookup (NSAD)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph.intervals import IntArray, Interval
from ds2ta_deploy.graph.ops.base import Axes, Dtype, Op, ValueType, exact_matmul


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
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("int32",),)
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


@dataclass(frozen=True, eq=False)
class MatMul(Op):
    """Product of two activations, per head: ``S = Q K^T`` or ``O = A V``.

    With a table between them ``(Q K^T) V`` may not be reassociated.

    Attributes:
        transpose_right: 1 for ``left @ right^T``, 0 for ``left @ right``.

    Shapes: ``[T, B, H, N, K]`` and ``[T, B, H, M, K]`` (transposed) or ``[T, B, H, K, M]`` -> ``[T, B, H, N, M]`` int32.

    """

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((5,), (5,))
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("uint8", "int16"), ("uint8",))
    INTEGERS: ClassVar[dict[str, tuple[int, int]]] = {"transpose_right": (0, 1)}

    transpose_right: int

    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Contract the inner axis."""
        left, right = inputs
        rows, inner = right.shape[-2:]
        if self.transpose_right:
            rows, inner = inner, rows
        self.require(left.shape[-1] == rows and left.shape[:3] == right.shape[:3], f"cannot multiply {left.shape} by {right.shape}")
        return (ValueType((*left.shape[:-1], inner), "int32"),)

    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """The K terms lie between the extreme products of the bounds."""
        terms = types[0].shape[-1] or 0
        left, right = inputs[0].over_channels(), inputs[1].hull()
        corners = np.stack([a * b for a in (left.low, left.high) for b in (right.low, right.high)])
        return (Interval.of(corners.min(axis=0) * terms, corners.max(axis=0) * terms).with_zero(),)

    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Multiply."""
        left, right = inputs
        return (exact_matmul(left, right.swapaxes(-2, -1) if self.transpose_right else right),)

    def infer_axes(self, inputs: Sequence[Axes]) -> tuple[Axes, ...]:
        """The right side's tokens are keys when it is transposed; otherwise its channels remain."""
        left, right = inputs
        return ((*left[:-2], "query", "key") if self.transpose_right else (*left[:3], "token", right[-1]),)

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """A row of the left side; of the right one a column, which is a row when it is transposed."""
        left, right = inputs
        *head, row, column = place
        rows = right.swapaxes(-2, -1) if not self.transpose_right else right
        return {"left": left[(*head, row)], "right": rows[(*head, column)]}


@dataclass(frozen=True, eq=False)
class Lookup(Op):
    """Nonlinear spiking attention denoiser (NSAD, DS2TA Eq. 6-7): ``A[h, i, j] = table[h, S[h, i, j]]``.

    Attributes:
        table: int16 ``[H, entries]``; entry s of head h is ``floor(f_h(s) + 1/2)``.

    Shapes: ``[T, B, H, N, N]`` -> the same, int16. An index outside the table is impossible by
    proof: freezing fails otherwise.

    """

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((5,),)
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("int32",),)
    ARRAYS: ClassVar[dict[str, tuple[int, tuple[str, ...]]]] = {"table": (2, ("int16",))}

    table: NDArray[np.int16]

    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Keep the shape."""
        (scores,) = inputs
        self.require(
            len(scores.shape) == 5 and scores.shape[2] == self.table.shape[0],
            f"has tables for {self.table.shape[0]} heads, gets {scores.shape}",
        )
        return (ValueType(scores.shape, "int16"),)

    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """Per head, the entries that the proven index range can reach.

        Raises:
            UnsupportedError: DS2TA-221 when an index could leave the table.

        """
        low, high, entries = inputs[0].minimum, inputs[0].maximum, self.table.shape[1]
        if low < 0 or high >= entries:
            raise UnsupportedError(
                Problem(
                    "DS2TA-221",
                    f"an index can reach [{low}, {high}], the table holds 0..{entries - 1}",
                    self.name,
                    "give the table an entry for every reachable score",
                )
            )
        reachable = self.table[:, low : high + 1].astype(np.int64)
        return (Interval.of(reachable.min(axis=1)[:, None, None], reachable.max(axis=1)[:, None, None]),)

    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Look up."""
        heads = np.arange(self.table.shape[0])[:, None, None]
        return (self.table.astype(np.int64)[heads, inputs[0]],)

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """The score and the head's table."""
        return {"score": inputs[0][place], "table": self.table[place[2]].astype(np.int64)}
