"""A network step by step: the same ops over a few time steps at once, with what they remember, for as long as it is proven."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.axes import axes_of
from ds2ta_deploy.graph.clock import Clock
from ds2ta_deploy.graph.graph import Graph, Sink, infer_ranges, infer_types
from ds2ta_deploy.graph.intervals import IntArray, Interval
from ds2ta_deploy.graph.ops import Op, State, ValueType
from ds2ta_deploy.graph.ranges import profile_of, prove

#: More steps than a neuron without any leak could take and still be proven, so that what is proven for them is for ever.
ENDLESS = 2**31 + 1


def over_frames(graph: Graph, steps: int) -> Graph:
    """Return the network for another number of time steps, with a frame of its own at every step.

    A still picture's network is shown the picture as often as there are steps. Weights, thresholds and tables stay. The bias
    of the readout, and the value of a unit of its sum, follow the steps, because the real readout averages over time.

    Raises:
        UnsupportedError: DS2TA-260 for a saccadic neuron, whose weights are for fewer steps, DS2TA-261 for a readout's bias
            that would not fit; DS2TA-210 when chunks do not fit into so many steps.

    """
    trained = _time_steps(graph)
    problems = [
        Problem("DS2TA-260", f"weighs {len(op.threshold if isinstance(op, ops.Threshold) else op.matrix)} time steps, not {steps}", op.name)
        for op in graph
        if isinstance(op, ops.TimeMix | ops.Threshold) and steps > trained
    ]
    made = []
    renamed: dict[str, str] = {}
    for op in graph:
        if isinstance(op, ops.Repeat):
            renamed[op.outputs[0]] = renamed.get(op.inputs[0], op.inputs[0])
            continue
        try:
            made.append(_for_steps(replace(op, inputs=tuple(renamed.get(name, name) for name in op.inputs)), steps, trained))
        except OverflowError as error:
            problems.append(Problem("DS2TA-261", str(error), op.name, "fewer time steps"))
    if problems:
        raise UnsupportedError(problems)
    facts = {**graph.facts, "time_steps": steps} if "time_steps" in graph.facts else graph.facts
    shape = graph.input_type.shape[1:] if graph.input_type.shape[0] is not None else graph.input_type.shape
    frames = ValueType((steps, *shape), graph.input_type.dtype)
    return replace(graph, input_type=frames, ops=tuple(made), output_scale=graph.output_scale * trained / steps, facts=facts)


def _time_steps(graph: Graph) -> int:
    return max((graph.types[name].shape[0] or 1 for name, words in axes_of(graph).items() if words[0] == "time step"), default=1)


def _for_steps(op: Op, steps: int, trained: int) -> Op:
    match op:
        case ops.InputTable():
            return replace(op, still=0)
        case ops.TimeMix():
            return replace(op, matrix=op.matrix[:steps, :steps])
        case ops.Threshold():
            return replace(op, threshold=op.threshold[:steps])
        case ops.Readout():
            return replace(op, bias=op.bias_over(steps, trained))
        case _:
            return op


@dataclass(frozen=True, eq=False)
class BlockGraph(Graph):
    """The ops over a block of time steps, anywhere in a run. Its ranges hold in every block; its ops are run by ``advance``.

    A saccadic neuron keeps the weights of all of its steps here, though a block has fewer; the readout has the bias of its
    longest sum.

    Attributes:
        longest: steps of a run that the ranges hold for.
        longest_sum: steps that the readout may sum up.

    """

    longest: int = field(kw_only=True)
    longest_sum: int = field(kw_only=True)

    @cached_property
    def types(self) -> dict[str, ValueType]:
        """Shape and storage type of every value of one block."""
        steps = self.input_type.shape[0] or 1
        cut = (_for_steps(op, steps, steps) for op in self.ops)
        return infer_types(cut, {self.input_name: self.input_type}, self.output, self.name)

    @cached_property
    def ranges(self) -> dict[str, Interval]:
        """Proven interval of every value, for every possible input and at every step."""
        summed = readout_of(self).inputs[0]  # spikes, which nothing that remembers reads
        steps = dict.fromkeys(self.types, self.longest) | {summed: self.longest_sum}
        return infer_ranges(self, {name: ValueType((steps[name], *kind.shape[1:]), kind.dtype) for name, kind in self.types.items()})


def makes_logits(graph: Graph) -> bool:
    """Whether a readout makes the output, so that the network can be run step by step."""
    return any(isinstance(op, ops.Readout) and op.outputs == (graph.output,) for op in graph)


def readout_of(graph: Graph) -> ops.Readout:
    """Return the op that makes the logits.

    Raises:
        UnsupportedError: DS2TA-262 when it is no readout.

    """
    for op in graph:
        if isinstance(op, ops.Readout) and op.outputs == (graph.output,):
            return op
    raise UnsupportedError(Problem("DS2TA-262", "is made by no readout: nothing can be said step by step", graph.output))


def _sum_range(readout: ops.Readout, block: BlockGraph, steps: int, bias: NDArray[np.int32]) -> Interval:
    """Return what the readout can give over so many steps, with this bias."""
    (name,) = readout.inputs
    kind = block.types[name]
    summed = ValueType((steps, *kind.shape[1:]), kind.dtype)
    return replace(readout, bias=bias).infer_ranges([block.ranges[name]], [summed])[0]


@dataclass(frozen=True, eq=False)
class StepForm:
    """A network step by step: state in, a block of frames in, state out.

    Attributes:
        sequence: the network as it was frozen.
        block: the same ops over as many steps as have to be computed together; one, unless there are chunks.
        trained_steps: T of the sequence.

    """

    sequence: Graph
    block: BlockGraph
    trained_steps: int

    @classmethod
    def of(cls, graph: Graph) -> Self:
        """Find the block, and for how long its ranges can be proven.

        Raises:
            UnsupportedError: DS2TA-262 when no readout makes the output, and what :func:`over_frames` raises.

        """
        span, trained = Clock.of(graph).span, _time_steps(graph)
        frames = over_frames(graph, span)
        full = {op.name: op for op in graph if isinstance(op, ops.TimeMix | ops.Threshold)}
        readout = readout_of(graph)
        given = {**full, readout.name: readout}
        parts = tuple(replace(given[op.name], inputs=op.inputs) if op.name in given else op for op in frames)

        def block(longest: int, longest_sum: int) -> BlockGraph:
            made = tuple(_for_steps(op, longest_sum, trained) if isinstance(op, ops.Readout) else op for op in parts)
            fields = (frames.name, frames.input_name, frames.input_type, made, frames.output, frames.output_scale, frames.facts)
            return BlockGraph(*fields, longest=longest, longest_sum=longest_sum)

        def holds(longest: int) -> bool:
            try:
                prove(block(longest, 1), profile_of(graph))
            except (UnsupportedError, OverflowError):
                return False
            return True

        longest = len(next(iter(_weighted_steps(full.values())))) if full else ENDLESS
        longest = _largest(holds, trained, longest)
        proven, bits = block(longest, 1), profile_of(graph).state_bits

        def fits(steps: int) -> bool:
            try:
                return _sum_range(readout_of(proven), proven, steps, readout.bias_over(steps, trained)).bits <= bits
            except OverflowError:
                return False

        return cls(graph, block(longest, _largest(fits, trained, longest)), trained)

    @property
    def span(self) -> int:
        """Time steps that are computed together; frames are collected until there are so many."""
        return self.block.input_type.shape[0] or 1

    @property
    def latency(self) -> int:
        """By how many frames a decision lags behind at most."""
        return self.span - 1

    @property
    def longest(self) -> int | None:
        """Time steps after which the network must begin anew; None when it can run for ever."""
        return None if self.block.longest >= ENDLESS else self.block.longest

    @property
    def longest_sum(self) -> int:
        """Time steps that one decision may sum up, at most."""
        return self.block.longest_sum

    @cached_property
    def state_types(self) -> dict[str, ValueType]:
        """``op.role`` -> shape and type of all that is remembered, but for the readout's sum."""
        found = {}
        for op in self.block:
            if not isinstance(op, ops.Readout):
                for role, kind in op.state_types([self.block.types[name] for name in op.inputs]).items():
                    found[f"{op.name}.{role}"] = kind
        return found

    def initial(self, batch: int) -> State:
        """Return what is remembered before the first step: nothing but zeros."""
        return {
            name: np.zeros([batch if size is None else size for size in kind.shape], np.int64) for name, kind in self.state_types.items()
        }

    def state_ranges(self, steps: int) -> dict[str, Interval]:
        """Return what the state can be after so many steps: ``op.role`` -> interval; without the readout's sum."""
        ranges = replace(self.block, longest=max(steps, self.span)).ranges
        found = {}
        for op in self.block:
            if not isinstance(op, ops.Readout):
                held = op.state_ranges([ranges[name] for name in op.inputs], [ranges[name] for name in op.outputs])
                found.update({f"{op.name}.{role}": interval for role, interval in held.items()})
        return found

    def sum_range(self, steps: int) -> Interval:
        """Return what the readout's sum over so many steps can be, without the bias."""
        readout = readout_of(self.block)
        return _sum_range(readout, self.block, steps, np.zeros_like(readout.bias))

    def bias_over(self, steps: int) -> NDArray[np.int32]:
        """Return the readout's bias for a sum over so many steps, ``[classes]``."""
        return readout_of(self.sequence).bias_over(steps, self.trained_steps)

    def advance(self, now: int, state: State, frames: NDArray[np.uint8], sink: Sink | None = None) -> tuple[NDArray[np.int32], State]:
        """Compute one block in NumPy: the definition of the step form.

        Args:
            now: time steps taken before; a multiple of :attr:`span`.
            state: what was remembered then, as :attr:`state_types` says.
            frames: uint8, the block's frames.
            sink: told every observable value of the block; of the logits, what the block adds to their sum.

        Returns:
            What the block adds to the sum of the readout, int32 ``[B, classes]``, and what is remembered behind it.

        """
        steps = {name: kind.shape[0] or 1 for name, kind in self.block.types.items()}
        after: State = {}

        def apply(op: Op, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
            if isinstance(op, ops.Readout):
                return (op.increment(inputs[0]),)
            before = {name.removeprefix(f"{op.name}."): state[name] for name in self._names_of(op)}
            made, kept = op.advance(now // self.span * steps[op.outputs[0]], before, *inputs)
            after.update({f"{op.name}.{role}": array for role, array in kept.items()})
            return made

        increment = self.block.execute(frames, sink, apply)
        return increment.astype(np.int32), after

    def _names_of(self, op: Op) -> Iterable[str]:
        return (f"{op.name}.{role}" for role in op.state_types([self.block.types[name] for name in op.inputs]))


def _weighted_steps(saccadic: Iterable[Op]) -> Iterable[NDArray[np.integer]]:
    for op in saccadic:
        if isinstance(op, ops.TimeMix):
            yield op.matrix
        elif isinstance(op, ops.Threshold):
            yield op.threshold


def _largest(holds: Callable[[int], bool], known: int, most: int) -> int:
    """Return the largest number for which something holds that holds for ``known`` and for everything below what it holds for."""
    if holds(most):
        return most
    while most - known > 1:
        middle = (known + most) // 2
        known, most = (middle, most) if holds(middle) else (known, middle)
    return known
