"""What a process computes in one time step: pure functions of integers, and the cell that chains them.

Written once; the Lava models and the NumPy stepper both call it. The meaning of each function is the op of
the same name in ``ds2ta_deploy.graph.ops``, cut into single time steps: what an op remembers between steps
goes in and comes out as its last argument and result. Every function works on the trailing axes (tokens
``[..., N, D]``, pictures ``[..., H, W, C]``), so that a batch may stand in front.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .check import check_value

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


def split_heads(x: IntArray, heads: int) -> IntArray:
    """``ops.SplitHeads``: ``[..., N, D] -> [..., heads, N, D / heads]``."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads).swapaxes(-3, -2)


def merge_heads(x: IntArray) -> IntArray:
    """``ops.MergeHeads``: ``[..., heads, N, d] -> [..., N, heads d]``."""
    moved = x.swapaxes(-3, -2)
    return moved.reshape(*moved.shape[:-2], moved.shape[-2] * moved.shape[-1])


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


def readout(x: IntArray, weight: Tensor, bias: Tensor, total: IntArray | None) -> tuple[IntArray, IntArray]:
    """``ops.Readout``: returns the logits if this step were the last, and the running sum without the bias."""
    part = multiply(x.sum(axis=-2), weight.T)
    total = part if total is None else total + part
    return total + bias, total


@dataclass(frozen=True)
class Step:
    """One op of a process, as ``graph.json`` has it.

    Attributes:
        op: name of the op.
        inputs: names of the values it reads.
        outputs: names of the values it makes.
        integers: its integer fields.
        tensors: its tensors.
        once: whether it runs at the first time step only and its outputs stay (a still picture's layers).

    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    integers: Mapping[str, int]
    tensors: Mapping[str, Tensor]
    once: bool = False


@dataclass
class Cell:
    """A process' steps and what they remember.

    Attributes:
        steps: in order.
        wide: names of the values that are state (sums, currents, membranes, logits): checked against ``state_bits``.
        state_bits: bits of the state.
        stored: name of a value -> shape of one sample in one step, storage type; what is computed has to be that.

    """

    steps: Sequence[Step]
    wide: frozenset[str]
    state_bits: int
    stored: Mapping[str, tuple[tuple[int, ...], str]] = field(default_factory=dict)
    _memory: dict[int, Any] = field(default_factory=dict)
    _values: dict[str, IntArray] = field(default_factory=dict)

    def reset(self) -> None:
        """Forget membranes, window histories, running sums: the next step is the first of a sample."""
        self._memory.clear()
        self._values.clear()

    def advance(self, inputs: Mapping[str, Tensor]) -> dict[str, IntArray]:
        """Compute one time step from the values that arrived; returns every value the process knows in this step.

        Raises:
            NetworkError: when a step cannot be computed, or gives a value of another shape than it should.
            StateOverflowError: when state needs more bits than there are.

        """
        values = self._values
        values.update({name: np.asarray(value, np.int64) for name, value in inputs.items()})
        for index, step in enumerate(self.steps):
            if step.once and step.outputs[0] in values:
                continue
            try:
                made = self._compute(step, [values[name] for name in step.inputs], index)
            except (ValueError, TypeError, MemoryError) as error:
                raise NetworkError(f"{step.op} cannot make {step.outputs[0]}: {error}") from error
            for name, value in zip(step.outputs, made, strict=True):
                wrong = check_value(value, name, *self.stored[name]) if name in self.stored else None
                if wrong is not None:
                    raise NetworkError(wrong)
                values[name] = check_bits(value, self.state_bits, name) if name in self.wide else value
        return dict(values)

    def _compute(self, step: Step, x: Sequence[IntArray], index: int) -> tuple[IntArray, ...]:  # noqa: PLR0911 - one line an op
        memory, number, tensor = self._memory, step.integers, step.tensors
        if step.op == "InputTable":
            return (input_table(x[0], tensor["table"]),)
        if step.op == "Linear":
            return (linear(x[0], tensor["weight"]),)
        if step.op == "Conv2d":
            return (conv2d(x[0], tensor["weight"], number["dilation"]),)
        if step.op == "TemporalWindow":
            current, memory[index] = temporal_window(
                x[0], tensor["bias"], number["taps"], number["decay"], number["guard_bits"], memory.get(index, ())
            )
            return (current,)
        if step.op == "Lif":
            spikes, membrane, carried = lif(x[0], tensor["threshold"], number["leak_numerator"], number["leak_shift"], memory.get(index, 0))
            memory[index] = check_bits(carried, self.state_bits, f"{step.outputs[1]} before its shift")
            return spikes, membrane
        if step.op == "Readout":
            logits, memory[index] = readout(x[0], tensor["weight"], tensor["bias"], memory.get(index))
            return (logits,)
        return (_stateless(step, x),)


def _stateless(step: Step, x: Sequence[IntArray]) -> IntArray:  # noqa: PLR0911 - one line an op
    if step.op == "MaxPool2d":
        return max_pool2d(x[0], step.integers["stride"], step.integers["axis"])
    if step.op == "Add":
        return x[0] + x[1]
    if step.op == "Tokens":
        return tokens(x[0])
    if step.op == "SplitHeads":
        return split_heads(x[0], step.integers["heads"])
    if step.op == "MergeHeads":
        return merge_heads(x[0])
    if step.op == "MatMul":
        return matmul(x[0], x[1], step.integers["transpose_right"], step.integers["transpose_left"])
    if step.op == "Lookup":
        return lookup(x[0], step.tensors["table"])
    if step.op == "Repeat":
        return x[0]
    raise ValueError(f"op {step.op!r} is not known")
