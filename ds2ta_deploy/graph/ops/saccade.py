"""The saccadic neuron (SNN-ViT): TimeMix, Threshold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.graph.intervals import IntArray, Interval
from ds2ta_deploy.graph.ops.base import Dtype, Op, ValueType


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
        steps = inputs[0].shape[0]
        mixed: IntArray = (self.matrix.astype(np.int64) @ inputs[0].reshape(steps, -1)).reshape(inputs[0].shape)
        return (mixed,)

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
        shape = (-1, *[1] * (inputs[0].ndim - 1))
        return ((inputs[0] >= self.threshold.astype(np.int64).reshape(shape)).astype(np.int64),)

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """The value and the step's threshold."""
        return {"input": inputs[0][place], "threshold": self.threshold[place[0]].astype(np.int64)}
