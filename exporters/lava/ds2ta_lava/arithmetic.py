"""What an op computes in one time step: pure functions of integers; ``cell.py`` chains them.

Written once; the Lava models and the NumPy stepper both call it. The meaning of each function is the op of
the same name in ``ds2ta_deploy.graph.ops``, cut into single time steps: what an op remembers between steps
goes in and comes out as its last argument and result. Every function works on the trailing axes (tokens
``[..., N, D]``, pictures ``[..., H, W, C]``), so that a batch may stand in front.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
Tensor = NDArray[np.integer[Any]]

#: Largest magnitudes up to which the floating-point types hold every integer.
_FLOAT32_EXACT, _FLOAT64_EXACT = 2**24, 2**53


class NetworkError(ValueError):
    """The files, or the inputs, do not describe a network that can run."""


class StateOverflowError(ArithmeticError):
    """A sum or membrane left the bits that the state has; on a chip it would have wrapped."""


def check_bits(value: IntArray, bits: int, name: str) -> IntArray:
    """Return ``value``, or raise unless every element fits ``bits`` bits of two's complement.

    Raises:
        StateOverflowError: with the value's name and what it holds.

    """
    limit = 1 << (bits - 1)
    if value.size and (int(value.min()) < -limit or int(value.max()) >= limit):
        raise StateOverflowError(f"{name} holds [{value.min()}, {value.max()}], which {bits} bits cannot store")
    return value


def _peak(array: Tensor) -> int:
    return max(-int(array.min()), int(array.max()), 0) if array.size else 0


def multiply(left: Tensor, right: Tensor) -> IntArray:
    """Integer matrix product, through floating-point BLAS where every partial sum is provably an exact integer."""
    bound = _peak(left) * _peak(right) * left.shape[-1]
    if bound >= _FLOAT64_EXACT:
        exact: IntArray = left.astype(np.int64) @ right.astype(np.int64)
        return exact
    kind: type[np.floating[Any]] = np.float32 if bound < _FLOAT32_EXACT else np.float64
    product: IntArray = (left.astype(kind) @ right.astype(kind)).astype(np.int64)
    return product


def input_table(pixels: Tensor, table: Tensor) -> IntArray:
    """``ops.InputTable``: uint8 ``[..., H, W, C]`` through a table ``[C, 256]``."""
    return table.astype(np.int64)[np.arange(table.shape[0]), pixels]


def linear(x: Tensor, weight: Tensor) -> IntArray:
    """``ops.Linear``: ``[..., N, in]`` by ``[out, in]``."""
    return multiply(x, weight.T)


def conv2d(x: Tensor, weight: Tensor, dilation: int = 1) -> IntArray:
    """``ops.Conv2d``: ``[..., H, W, in]`` by ``[out, k, k, in]``, stride 1, zero padding."""
    out, size, _, channels = weight.shape
    margin, spread = size // 2 * dilation, (size - 1) * dilation + 1
    padded = np.pad(x, [(0, 0)] * (x.ndim - 3) + [(margin, margin), (margin, margin), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (spread, spread), axis=(x.ndim - 3, x.ndim - 2))
    windows = windows[..., ::dilation, ::dilation]
    patches = np.moveaxis(windows, x.ndim - 1, -1).reshape(*x.shape[:-1], size * size * channels)
    return multiply(patches, weight.reshape(out, -1).T)


def temporal_window(
    product: IntArray, bias: Tensor, taps: int, decay: int, guard_bits: int, history: Sequence[IntArray]
) -> tuple[IntArray, tuple[IntArray, ...]]:
    """``ops.TemporalWindow``: attenuate the history, newest first, and add bias and present.

    Returns:
        The current, and the history for the next step: at most ``taps - 1`` products.

    """
    kept = (product, *history)[:taps]
    current = bias.astype(np.int64) << guard_bits
    for lag, past in enumerate(kept):
        current = current + ((past << guard_bits) >> (decay * lag))
    return current, kept[: taps - 1]


def lif(current: IntArray, threshold: Tensor, numerator: int, shift: int, carried: IntArray | int) -> tuple[IntArray, IntArray, IntArray]:
    """``ops.Lif``: returns spikes, the membrane before the reset, and what is carried over before the leak's shift."""
    membrane = current + (np.asarray(carried, np.int64) >> shift)
    spikes: IntArray = (membrane >= threshold).astype(np.int64)
    return spikes, membrane, np.where(spikes == 1, 0, membrane) * numerator


def max_pool2d(x: IntArray, stride: int = 2, axis: int = 2) -> IntArray:
    """``ops.MaxPool2d``: 3x3 over two axes, of what lies inside; of spikes that is OR. ``axis`` counts time and batch."""
    pooled, first = x, x.ndim - 5 + axis
    for along in (first, first + 1):
        margins = [(0, 0)] * x.ndim
        margins[along] = (1, 1)
        padded, size = np.pad(pooled, margins, mode="edge"), -(-pooled.shape[along] // stride)
        parts = [padded.take(range(start, start + stride * (size - 1) + 1, stride), along) for start in range(3)]
        pooled = np.maximum(np.maximum(parts[0], parts[1]), parts[2])
    return pooled


def tokens(x: IntArray) -> IntArray:
    """``ops.Tokens``: ``[..., H, W, C] -> [..., H W, C]``."""
    return x.reshape(*x.shape[:-3], x.shape[-3] * x.shape[-2], x.shape[-1])


def pixels(x: IntArray, height: int) -> IntArray:
    """``ops.Pixels``: ``[..., H W, C] -> [..., H, W, C]``."""
    return x.reshape(*x.shape[:-2], height, -1, x.shape[-1])


def split_heads(x: IntArray, heads: int) -> IntArray:
    """``ops.SplitHeads``: ``[..., N, D] -> [..., heads, N, D / heads]``."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads).swapaxes(-3, -2)


def merge_heads(x: IntArray) -> IntArray:
    """``ops.MergeHeads``: ``[..., heads, N, d] -> [..., N, heads d]``."""
    moved = x.swapaxes(-3, -2)
    return moved.reshape(*moved.shape[:-2], moved.shape[-2] * moved.shape[-1])


def chunk(steps: Sequence[IntArray]) -> IntArray:
    """``ops.Chunk``: the tokens ``[..., N, d]`` of all steps of a chunk, one step after the other."""
    return np.concatenate(steps, axis=-2)


def unchunk(x: IntArray, steps: int) -> list[IntArray]:
    """``ops.Unchunk``: the tokens of each step of a chunk ``[..., steps N, d]``."""
    return np.split(x, steps, axis=-2)


def reduce_sum(x: IntArray, axis: int, axes: int) -> IntArray:
    """``ops.ReduceSum``: the summed axis stays with size 1.

    Args:
        x: integers.
        axis: which one, counted with time and batch before the ``axes`` of a sample.
        axes: of a sample.

    """
    if not 2 <= axis < axes + 2:
        raise ValueError(f"axis {axis} is none of a sample's {axes}")
    total: IntArray = x.sum(axis=axis - axes - 2, keepdims=True)
    return total


def matmul(left: IntArray, right: IntArray, transpose_right: int, transpose_left: int = 0) -> IntArray:
    """``ops.MatMul``: query by key, map by value, key by value."""
    return multiply(left.swapaxes(-2, -1) if transpose_left else left, right.swapaxes(-2, -1) if transpose_right else right)


def lookup(scores: IntArray, table: Tensor) -> IntArray:
    """``ops.Lookup``: the attention denoiser, one row of the table a head.

    Raises:
        IndexError: when a score is no index of the table; indices do not count from the end here.

    """
    if scores.size and (int(scores.min()) < 0 or int(scores.max()) >= table.shape[1]):
        raise IndexError(f"a score of [{scores.min()}, {scores.max()}] leaves the table of {table.shape[1]} entries")
    return table.astype(np.int64)[np.arange(table.shape[0])[:, None, None], scores]


def time_mix(x: IntArray, matrix: Tensor, history: Sequence[IntArray]) -> tuple[IntArray, tuple[IntArray, ...]]:
    """``ops.TimeMix``: weighted sum of present and past, by the row of the matrix that belongs to this step.

    Returns:
        The sum, and the history for the next step, oldest first.

    """
    seen = (*history, x)
    if len(seen) > len(matrix):
        raise ValueError(f"a matrix of {len(matrix)} time steps has no row for step {len(seen) - 1}")
    mixed = np.zeros_like(x)
    for past, weight in zip(seen, matrix[len(seen) - 1].tolist(), strict=False):
        mixed = mixed + past * weight
    return mixed, seen


def threshold(x: IntArray, thresholds: Tensor, step: int) -> tuple[IntArray, int]:
    """``ops.Threshold``: returns spikes, and the number of the next step."""
    if step >= len(thresholds):
        raise ValueError(f"there is no threshold for time step {step}")
    return (x >= int(thresholds[step])).astype(np.int64), step + 1


def readout(x: IntArray, weight: Tensor, bias: Tensor, total: IntArray | None) -> tuple[IntArray, IntArray]:
    """``ops.Readout``: returns the logits if this step were the last, and the running sum without the bias."""
    part = multiply(x.sum(axis=-2), weight.T)
    total = part if total is None else total + part
    return total + bias, total
