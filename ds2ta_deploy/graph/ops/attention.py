"""Attention ops: MatMul and Lookup (NSAD)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph.intervals import IntArray, Interval
from ds2ta_deploy.graph.ops.base import Axes, Dtype, Op, ValueType, exact_matmul


@dataclass(frozen=True, eq=False)
class MatMul(Op):
    """Product of two activations, per head: ``S = Q K^T``, ``O = A V``, ``M = K^T V`` or ``O = Q M``.

    Without a table between them ``(Q K^T) V`` and ``Q (K^T V)`` are the same integers; with one they are not.

    Attributes:
        transpose_right: 1 for ``left @ right^T``.
        transpose_left: 1 for ``left^T @ right``.

    Shapes: ``[T, B, H, N, K]`` (transposed ``[T, B, H, K, N]``) and ``[T, B, H, K, M]`` (transposed
    ``[T, B, H, M, K]``) -> ``[T, B, H, N, M]`` int32.

    """

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((5,), (5,))
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("uint8", "int16", "int32"), ("uint8", "int32"))
    INTEGERS: ClassVar[dict[str, tuple[int, int]]] = {"transpose_right": (0, 1), "transpose_left": (0, 1)}

    transpose_right: int = 0
    transpose_left: int = 0

    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Contract the inner axis."""
        left, right = inputs
        rows, terms = _sides(left, transposed=self.transpose_left)
        others, columns = _sides(right, transposed=self.transpose_right)
        self.require(terms == others and left.shape[:3] == right.shape[:3], f"cannot multiply {left.shape} by {right.shape}")
        return (ValueType((*left.shape[:3], rows, columns), "int32"),)

    def terms(self, left: ValueType) -> int:
        """Return K, the number of products that are summed up."""
        return _sides(left, transposed=self.transpose_left)[1] or 0

    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """The K terms lie between the extreme products of the bounds; what no state could hold is cut off at 2^62."""
        terms = self.terms(types[0])
        left, right = inputs[0].over_channels(), inputs[1].hull()
        left = left.hull() if self.transpose_left else left
        corners = np.stack([a * b for a in (left.low, left.high) for b in (right.low, right.high)])
        corners = corners.clip(-(2**62 // terms), 2**62 // terms)
        return (Interval.of(corners.min(axis=0) * terms, corners.max(axis=0) * terms).with_zero(),)

    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Multiply."""
        return (exact_matmul(*self._arranged(*inputs)),)

    def infer_axes(self, inputs: Sequence[Axes]) -> tuple[Axes, ...]:
        """The right side's tokens are keys when it is transposed; channels meet channels when the left one is."""
        inner = ("query", "key") if self.transpose_right else ("key channel", "channel") if self.transpose_left else ("token", "channel")
        return ((*inputs[0][:3], *inner),)

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """A row of the left side and a column of the right one, as they are multiplied."""
        left, right = self._arranged(*inputs)
        *head, row, column = place
        matrices = tuple(head)
        return {"left": left[matrices][row], "right": right[matrices][:, column]}

    def _arranged(self, left: IntArray, right: IntArray) -> tuple[IntArray, IntArray]:
        return (left.swapaxes(-2, -1) if self.transpose_left else left, right.swapaxes(-2, -1) if self.transpose_right else right)


def _sides(kind: ValueType, *, transposed: int) -> tuple[int | None, int | None]:
    """The last two sizes, as they are multiplied."""
    first, second = kind.shape[-2:]
    return (second, first) if transposed else (first, second)


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
