"""The arithmetic of one process: its ops in order, what they remember, and the time steps that it waits for.

A cell receives one time step after the other. An op on single time steps could compute at once; what is computed of a
chunk of time steps is there only when the last of them is. So a cell takes its time steps in blocks, as many as its
chunks need together: it keeps what arrives until a block is whole and then computes all of it, op after op. Without a
chunk, a block is one time step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import arithmetic
from .arithmetic import IntArray, NetworkError, Tensor, check_bits
from .check import check_value
from .memory import remembered_by
from .timing import span_behind

#: What a value is in each time step of a block; a value in chunks has fewer, a still one has one.
Series = list[IntArray]


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


def block_steps(steps: Iterable[Step]) -> int:
    """Time steps that a process takes together: the fewest that are whole chunks, whatever chunks it has."""
    spans: dict[str, int] = {}
    for step in steps:
        span = span_behind(step.op, step.integers.get("steps", 1), [spans.get(name, 1) for name in step.inputs])
        spans.update(dict.fromkeys(step.outputs, span))
    return math.lcm(*spans.values())


@dataclass
class Cell:
    """A process' steps and what they remember.

    Attributes:
        steps: in order.
        wide: names of the values that are state (sums, currents, membranes, logits): checked against ``state_bits``.
        state_bits: bits of the state.
        stored: name of a value -> shape of one sample in one step, storage type; what is computed has to be that.
        begin: what each sample remembers before its first step, by the number of the op (see ``remembering``); nothing by default.

    """

    steps: Sequence[Step]
    wide: frozenset[str]
    state_bits: int
    stored: Mapping[str, tuple[tuple[int, ...], str]] = field(default_factory=dict)
    begin: Sequence[Mapping[int, Any]] = ()
    _memory: dict[int, Any] = field(default_factory=dict)
    _still: dict[str, IntArray] = field(default_factory=dict)
    _waiting: list[Mapping[str, Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Find out how many time steps a block has, and begin with the first sample."""
        self.block = block_steps(self.steps)
        self.reset()

    def reset(self, sample: int = 0) -> None:
        """Forget membranes, window histories, running sums: the next step is the first of a sample."""
        self._memory.clear()
        self._memory.update(self.begin[sample] if self.begin else {})
        self._still.clear()
        self._waiting.clear()

    def remembered(self) -> dict[str, IntArray]:
        """Return what is remembered behind the last block, by the name of the op's first output (see ``remembering``)."""
        return remembered_by(self.steps, self._memory)

    def advance(self, inputs: Mapping[str, Tensor]) -> dict[str, Series]:
        """Take one time step of what arrives; compute, when with it a block is whole.

        Returns:
            Every value that the process now knows more of: what it received and what it made, one array for each of
            its steps, or chunks, in the block. Nothing before a block is whole; what a still picture gives once, in
            a sample's first block only.

        Raises:
            NetworkError: when a step cannot be computed, or gives a value of another shape than it should.
            StateOverflowError: when state needs more bits than there are.

        """
        self._waiting.append(inputs)
        if len(self._waiting) < self.block:
            return {}
        known: dict[str, Series] = {name: [np.asarray(each[name], np.int64) for each in self._waiting] for name in inputs}
        self._waiting.clear()
        for index, step in enumerate(self.steps):
            if step.once and step.outputs[0] in self._still:
                continue
            try:
                made = self._run(step, [self._series(known, name) for name in step.inputs], index)
            except (ValueError, TypeError, MemoryError) as error:
                raise NetworkError(f"{step.op} cannot make {step.outputs[0]}: {error}") from error
            for name, series in zip(step.outputs, made, strict=True):
                known[name] = [self._checked(name, value) for value in series]
                if step.once:
                    self._still[name] = known[name][0]
        return known

    def sent(self, known: Mapping[str, Series], name: str) -> Series:
        """Return what a process sends of a value for the block that ``advance`` gave: one array for each time step.

        Raises:
            NetworkError: when the value is not there in every time step.

        """
        if not known:
            return []
        series = [self._still[name]] * self.block if name in self._still else known[name]
        if len(series) != self.block:
            raise NetworkError(f"{name} is sent in every time step, and is there in {len(series)} of {self.block}")
        return series

    def _series(self, known: Mapping[str, Series], name: str) -> Series:
        return known[name] if name in known else [self._still[name]]

    def _checked(self, name: str, value: IntArray) -> IntArray:
        wrong = check_value(value, name, *self.stored[name]) if name in self.stored else None
        if wrong is not None:
            raise NetworkError(wrong)
        return check_bits(value, self.state_bits, name) if name in self.wide else value

    def _run(self, step: Step, x: Sequence[Series], index: int) -> list[Series]:
        """Compute one op for a block; returns a series for each of its outputs."""
        if step.op == "Repeat":
            return [[x[0][0]] * self.block]
        if step.op == "Chunk":
            size = step.integers["steps"]
            return [[arithmetic.chunk(x[0][first : first + size]) for first in range(0, len(x[0]), size)]]
        if step.op == "Unchunk":
            return [[part for whole in x[0] for part in arithmetic.unchunk(whole, step.integers["steps"])]]
        moments = [[series[0] for series in x]] if step.once else zip(*x, strict=True)
        return [list(series) for series in zip(*(self._compute(step, moment, index) for moment in moments), strict=True)]

    def _compute(self, step: Step, x: Sequence[IntArray], index: int) -> tuple[IntArray, ...]:
        """Compute one op for one of its steps."""
        memory, number, tensor = self._memory, step.integers, step.tensors
        if step.op == "TemporalWindow":
            window = number["taps"], number["decay"], number["guard_bits"]
            made, memory[index] = arithmetic.temporal_window(x[0], tensor["bias"], *window, memory.get(index, ()))
        elif step.op == "Lif":
            leak = number["leak_numerator"], number["leak_shift"]
            spikes, membrane, carried = arithmetic.lif(x[0], tensor["threshold"], *leak, memory.get(index, 0))
            memory[index] = check_bits(carried, self.state_bits, f"{step.outputs[1]} before its shift")
            return spikes, membrane
        elif step.op == "TimeMix":
            made, memory[index] = arithmetic.time_mix(x[0], tensor["matrix"], memory.get(index, ()))
        elif step.op == "Threshold":
            made, memory[index] = arithmetic.threshold(x[0], tensor["threshold"], memory.get(index, 0))
        elif step.op == "Readout":
            made, memory[index] = arithmetic.readout(x[0], tensor["weight"], tensor["bias"], memory.get(index))
        elif step.op == "ReduceSum":
            made = arithmetic.reduce_sum(x[0], number["axis"], len(self.stored[step.outputs[0]][0]))
        elif step.op in _STATELESS:
            made = _STATELESS[step.op](step, x)
        else:
            raise ValueError(f"op {step.op!r} is not known")
        return (made,)


#: Ops that remember nothing, in terms of their step and the values it reads.
_STATELESS: dict[str, Callable[[Step, Sequence[IntArray]], IntArray]] = {
    "Add": lambda _, x: x[0] + x[1],
    "Conv2d": lambda step, x: arithmetic.conv2d(x[0], step.tensors["weight"], step.integers["dilation"]),
    "InputTable": lambda step, x: arithmetic.input_table(x[0], step.tensors["table"]),
    "Linear": lambda step, x: arithmetic.linear(x[0], step.tensors["weight"]),
    "Lookup": lambda step, x: arithmetic.lookup(x[0], step.tensors["table"]),
    "MatMul": lambda step, x: arithmetic.matmul(x[0], x[1], step.integers["transpose_right"], step.integers["transpose_left"]),
    "MaxPool2d": lambda step, x: arithmetic.max_pool2d(x[0], step.integers["stride"], step.integers["axis"]),
    "MergeHeads": lambda _, x: arithmetic.merge_heads(x[0]),
    "Mul": lambda _, x: x[0] * x[1],
    "Pixels": lambda step, x: arithmetic.pixels(x[0], step.integers["height"]),
    "SplitHeads": lambda step, x: arithmetic.split_heads(x[0], step.integers["heads"]),
    "Tokens": lambda _, x: arithmetic.tokens(x[0]),
}
