"""Weighted sums: Linear, Conv2d, Readout."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.graph.intervals import IntArray, Interval
from ds2ta_deploy.graph.ops.base import Axes, Dtype, Op, State, ValueType, exact_matmul

WeightArray = NDArray[np.signedinteger[Any]]


def weighted_range(weight: IntArray, low: IntArray, high: IntArray) -> Interval:
    """Return the interval of ``weight @ x`` for x in [low, high]: ``sum min(w,0) high + max(w,0) low`` and its mirror."""
    positive: IntArray = np.maximum(weight, 0)
    negative: IntArray = np.minimum(weight, 0)
    return Interval.of(positive @ low + negative @ high, positive @ high + negative @ low)


@dataclass(frozen=True, eq=False)
class Linear(Op):
    """``product[t, b, n] = W x[t, b, n]``: the integer product of a linear layer, without its bias.

    Attributes:
        weight: int8 or int16 ``[out, in]``.

    Shapes: ``[T, B, N, in]`` uint8 -> ``[T, B, N, out]`` int32.

    """

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((4,),)
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("uint8", "int16"),)
    ARRAYS: ClassVar[dict[str, tuple[int, tuple[str, ...]]]] = {"weight": (2, ("int8", "int16"))}

    weight: WeightArray

    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Replace the last axis."""
        (x,) = inputs
        self.require(x.shape[-1] == self.weight.shape[1], f"expects {self.weight.shape[1]} channels, gets {x.shape[-1]}")
        return (ValueType((*x.shape[:-1], self.weight.shape[0]), "int32"),)

    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """Bound every output channel by its own weights."""
        return (weighted_range(self.weight.astype(np.int64), *inputs[0].per_channel(self.weight.shape[1])),)

    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Multiply."""
        return (exact_matmul(inputs[0], self.weight.astype(np.int64).T),)

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """The token's inputs and the channel's weights."""
        return {"inputs": inputs[0][place[:-1]], "weights": self.weight[place[-1]].astype(np.int64)}


@dataclass(frozen=True, eq=False)
class Conv2d(Op):
    """Convolution of stride 1 whose zero padding keeps the picture's size, without its bias.

    ``product[y, x] = sum_{i,j} W[:, i, j] in[y + r (i - k//2), x + r (j - k//2)]``, zero outside the picture.

    Attributes:
        weight: int8 or int16 ``[out, k, k, in]``, k odd.
        dilation: r, the distance of neighbouring taps in pixels.

    Shapes: ``[T, B, H, W, in]`` -> ``[T, B, H, W, out]`` int32.

    """

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((5,),)
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("uint8", "int16"),)
    ARRAYS: ClassVar[dict[str, tuple[int, tuple[str, ...]]]] = {"weight": (4, ("int8", "int16"))}
    INTEGERS: ClassVar[dict[str, tuple[int, int]]] = {"dilation": (1, 64)}

    weight: WeightArray
    dilation: int = 1

    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Replace the last axis."""
        (x,) = inputs
        out, height, width, channels = self.weight.shape
        self.require(height == width and height % 2 == 1, f"needs a square kernel of odd size, has {height}x{width}")
        self.require(len(x.shape) == 5 and x.shape[-1] == channels, f"expects [T, B, H, W, {channels}], gets {x.shape}")
        return (ValueType((*x.shape[:-1], out), "int32"),)

    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """Bound every output channel by its weights; at the border some inputs are zero."""
        out, height, width, channels = self.weight.shape
        low, high = (np.tile(bound, height * width) for bound in inputs[0].with_zero().per_channel(channels))
        return (weighted_range(self.weight.astype(np.int64).reshape(out, -1), low, high),)

    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Gather the k x k neighbourhoods, then multiply."""
        out, size, _, channels = self.weight.shape
        margin, spread = size // 2 * self.dilation, (size - 1) * self.dilation + 1
        padded = np.pad(inputs[0], [(0, 0), (0, 0), (margin, margin), (margin, margin), (0, 0)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, (spread, spread), axis=(2, 3))
        windows = windows[..., :: self.dilation, :: self.dilation]
        patches = np.moveaxis(windows, 4, -1).reshape(*inputs[0].shape[:-1], size * size * channels)
        return (exact_matmul(patches, self.weight.astype(np.int64).reshape(out, -1).T),)

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """The k x k neighbourhood, zero outside the picture, and the channel's weights, both ``[k, k, in]``."""
        time, sample, row, column, channel = place
        size, step = self.weight.shape[1], self.dilation
        margin, spread = size // 2 * step, (size - 1) * step + 1
        padded = np.pad(inputs[0][time, sample], [(margin, margin), (margin, margin), (0, 0)])
        seen = padded[row : row + spread : step, column : column + spread : step]
        return {"inputs": seen, "weights": self.weight[channel].astype(np.int64)}


@dataclass(frozen=True, eq=False)
class Readout(Op):
    """``logits = sum_t sum_n W x[t, n] + bias``: one scale for all classes, so argmax needs no multiplication.

    Attributes:
        weight: int8 ``[classes, D]``.
        bias: int32 ``[classes]``, in the unit of the sum.

    Shapes: ``[T, B, N, D]`` -> ``[B, classes]`` int32.

    """

    INPUT_RANKS: ClassVar[tuple[tuple[int, ...], ...]] = ((4,),)
    INPUT_DTYPES: ClassVar[tuple[tuple[Dtype, ...], ...]] = (("uint8",),)
    ARRAYS: ClassVar[dict[str, tuple[int, tuple[str, ...]]]] = {"weight": (2, ("int8",)), "bias": (1, ("int32",))}

    weight: WeightArray
    bias: NDArray[np.int32]

    def infer_types(self, inputs: Sequence[ValueType]) -> tuple[ValueType, ...]:
        """Drop time and tokens."""
        (x,) = inputs
        self.require(self.bias.shape[0] == self.weight.shape[0], f"has {self.bias.shape[0]} biases for {self.weight.shape[0]} classes")
        self.require(
            len(x.shape) == 4 and x.shape[-1] == self.weight.shape[1], f"expects [T, B, N, {self.weight.shape[1]}], gets {x.shape}"
        )
        return (ValueType((x.shape[1], self.weight.shape[0]), "int32"),)

    def infer_ranges(self, inputs: Sequence[Interval], types: Sequence[ValueType]) -> tuple[Interval, ...]:
        """Sum the bound of one token over all tokens and steps; partial sums start without the bias."""
        one = weighted_range(self.weight.astype(np.int64), *inputs[0].per_channel(self.weight.shape[1]))
        tokens = (types[0].shape[0] or 0) * (types[0].shape[2] or 0)
        total = Interval.of(one.low * tokens, one.high * tokens).with_zero()
        return (total + Interval.of(self.bias.astype(np.int64), self.bias.astype(np.int64)).with_zero(),)

    def execute(self, *inputs: IntArray) -> tuple[IntArray, ...]:
        """Sum over time and tokens first (the same integers, fewer products)."""
        return (self.increment(inputs[0]) + self.bias,)

    def state_types(self, inputs: Sequence[ValueType]) -> dict[str, ValueType]:
        """``total``: the sum so far, without the bias."""
        return {"total": ValueType((inputs[0].shape[1], self.weight.shape[0]), "int32")}

    def advance(self, now: int, state: State, *inputs: IntArray) -> tuple[tuple[IntArray, ...], State]:
        """Add to the sum so far; the output is the logits of all steps so far, with the bias of this op as it is."""
        total = state["total"] + self.increment(inputs[0])
        return (total + self.bias,), {"total": total}

    def increment(self, inputs: IntArray) -> IntArray:
        """Return what time steps add to the sum, ``[B, classes]``."""
        return exact_matmul(inputs.sum(axis=(0, 2)), self.weight.astype(np.int64).T)

    def bias_over(self, steps: int, of: int) -> NDArray[np.int32]:
        """Return the bias of a sum over another number of steps: ``floor(bias steps / of + 1/2)``.

        The real readout averages over time, so that its bias in units of the sum grows with the steps.

        Args:
            steps: over which is summed.
            of: those that this op's bias was made for.

        Raises:
            OverflowError: when it needs more than 32 bits.

        """
        scaled = (2 * self.bias.astype(np.int64) * steps + of) // (2 * of)
        if scaled.min() < -(2**31) or scaled.max() >= 2**31:
            raise OverflowError(f"the bias of {self.name} over {steps} steps needs more than 32 bits")
        return scaled.astype(np.int32)

    def infer_axes(self, inputs: Sequence[Axes]) -> tuple[Axes, ...]:
        """Samples and classes remain."""
        return ((inputs[0][1], "class"),)

    def operands(self, place: tuple[int, ...], *inputs: IntArray) -> dict[str, IntArray]:
        """The sample's inputs summed over time and tokens, the class's weights and bias."""
        sample, kind = place
        weights, bias = self.weight[kind].astype(np.int64), self.bias[kind].astype(np.int64)
        return {"inputs, summed over time and tokens": inputs[0][:, sample].sum(axis=(0, 1)), "weights": weights, "bias": np.asarray(bias)}
