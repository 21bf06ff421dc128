"""The saccadic neuron (SNN-ViT): TimeMix, Threshold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.graph.intervals import IntArray, Interval
from ds2ta_deploy.graph.ops.base import Dtype, Op, State, ValueType


@dataclass(frozen=True, eq=False)
class TimeMix(Op):
    """Weighted sum over present and past steps: ``H[t] = sum over s <= t of matrix[t, s] x[s]`` (SNN-ViT, M_w).

    Attributes:
        matrix: int16 ``[T, T]``, zero above the diagonal: no step sees a later one.

    Shapes: ``[T, B, ...]`` int32 -> the same.

    """

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((4, 5),)
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("int32",),)
    ARRAYS: ClassVar[dict[str, tuple[int, tuple[str, ...]]]] = {"matrix": (2, ("int16",))}

    matrix: NDArray[np.int16]

    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Keep the shape."""
        (x,) = inputs
        self.require(self.matrix.shape == (x.shape[0], x.shape[0]), f"has a matrix {self.matrix.shape} for {x.shape[0]} time steps")
        self.require(not np.triu(self.matrix, 1).any(), "needs a matrix that is zero above the diagonal")
        return (x,)

    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """Every term is extreme at an end of its input; sums run from zero, and the worst step counts."""
        positive = int(np.maximum(self.matrix, 0).astype(np.int64).sum(axis=1).max())
        negative = int(np.minimum(self.matrix, 0).astype(np.int64).sum(axis=1).min())
        x = inputs[0].with_zero()
        return (Interval.of(positive * x.low + negative * x.high, positive * x.high + negative * x.low),)

    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Sum step by step."""
        return self.advance(0, {"past": inputs[0][:0]}, *inputs)[0]

    def state_types(self, inputs: Sequence[ValueType]) -> dict[str, ValueType]:
        """``past``: the inputs of all steps so far, the first in front; zero where there was none yet."""
        return {"past": ValueType((len(self.matrix) - 1, *inputs[0].shape[1:]), "int32")} if len(self.matrix) > 1 else {}

    def state_ranges(self, inputs: Sequence[Interval], outputs: Sequence[Interval]) -> dict[str, Interval]:
        """Inputs, or zero."""
        return {"past": inputs[0].with_zero()} if len(self.matrix) > 1 else {}

    def advance(self, now: int, state: State, *inputs: IntArray) -> tuple[tuple[IntArray, ...], State]:
        """Sum step by step."""
        seen = np.concatenate([state.get("past", inputs[0][:0])[:now], inputs[0]])
        rows: IntArray = self.matrix.astype(np.int64)[now : len(seen), : len(seen)]
        mixed: IntArray = (rows @ seen.reshape(len(seen), -1)).reshape(inputs[0].shape)
        past = np.zeros((len(self.matrix) - 1, *inputs[0].shape[1:]), np.int64)
        past[: len(seen)] = seen[: len(past)]
        return (mixed,), ({"past": past} if len(past) else {})

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """The past up to the present, and its weights."""
        now = place[0]
        past: IntArray = inputs[0][: now + 1].reshape(now + 1, -1)
        position = int(np.ravel_multi_index(place[1:], inputs[0].shape[1:]))
        return {"inputs": past[:, position], "weights": self.matrix[now, : now + 1].astype(np.int64)}


@dataclass(frozen=True, eq=False)
class Threshold(Op):
    """Compare without memory: ``s[t] = x[t] >= threshold[t]``; fires at equality, nothing is kept or reset.

    Attributes:
        threshold: int32 ``[T]``, one a time step, of any sign.

    Shapes: ``[T, B, ...]`` int32 -> uint8 of the same shape.

    """

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((4, 5),)
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("int32",),)
    ARRAYS: ClassVar[dict[str, tuple[int, tuple[str, ...]]]] = {"threshold": (1, ("int32",))}

    threshold: NDArray[np.int32]

    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Spikes have the input's shape."""
        (x,) = inputs
        self.require(x.shape[0] == self.threshold.shape[0], f"has {self.threshold.shape[0]} thresholds for {x.shape[0]} time steps")
        return (ValueType(x.shape, "uint8"),)

    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """A spike that cannot fail, or cannot come, at any step is one number."""
        threshold = self.threshold.astype(np.int64)
        always, ever = inputs[0].low >= threshold.max(), inputs[0].high >= threshold.min()
        return (Interval.of(always.astype(np.int64), ever.astype(np.int64)),)

    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Compare."""
        return self.advance(0, {}, *inputs)[0]

    def advance(self, now: int, state: State, *inputs: IntArray) -> tuple[tuple[IntArray, ...], State]:
        """Compare each step with its own threshold."""
        threshold = self.threshold.astype(np.int64)[now : now + len(inputs[0])].reshape(-1, *[1] * (inputs[0].ndim - 1))
        return ((inputs[0] >= threshold).astype(np.int64),), {}

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """The value and the step's threshold."""
        return {"input": inputs[0][place], "threshold": self.threshold[place[0]].astype(np.int64)}
