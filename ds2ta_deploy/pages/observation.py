"""Run the graph on inputs once and keep what a page shows of it: sums over all samples, and the trace of one."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.errors import ParityError, Problem, UsageError
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import Lookup, MatMul, Op
from ds2ta_deploy.pages.work import WORKING, Integers, Work, work_of
from ds2ta_deploy.parity import GOLDEN, Digest, Divergence, samples_at_once
from ds2ta_deploy.runtimes.reference import ReferenceRuntime


@dataclass
class Observation:
    """What was seen on the runtime ``reference``.

    Attributes:
        samples: how many inputs were run.
        sample: number of the one whose trace is kept.
        pixels: that input: uint8 ``[H, W, C]`` or ``[T, H, W, C]``.
        trace: its spikes and attention maps, without the batch axis.
        spikes: name -> spikes at each time step, over all samples, int64 ``[T]``.
        fired: name -> whether each neuron ever fired.
        scores: name of a table's op -> how often each head met each score, int64 ``[H, entries]``.
        work: name of an op -> what it had to do over all samples.
        logits: int32 ``[B, classes]``.

    """

    samples: int
    sample: int
    pixels: NDArray[np.uint8]
    trace: dict[str, Integers] = field(default_factory=dict)
    spikes: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    fired: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    scores: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    work: dict[str, Work] = field(default_factory=dict)
    logits: NDArray[np.integer] = field(default_factory=lambda: np.zeros((0, 0), np.int32))

    def rate(self, name: str) -> float:
        """Share of a layer's places (samples, time steps, neurons) that hold a spike."""
        return float(self.spikes[name].sum()) / (self.samples * len(self.spikes[name]) * self.fired[name].size)


def map_ops(graph: Graph) -> list[MatMul]:
    """Return the ops that make a map of tokens by tokens, in order."""
    return [op for op in graph if isinstance(op, MatMul) and op.transpose_right]


def table_behind(graph: Graph, name: str) -> Lookup | None:
    """Return the op that looks a value up in a table, if there is one."""
    return next((op for op in graph if isinstance(op, Lookup) and op.inputs == (name,)), None)


def observe(
    graph: Graph,
    inputs: NDArray[np.uint8],
    sample: int = 0,
    *,
    golden: dict[str, str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Observation:
    """Run inputs batch by batch.

    Args:
        graph: what to run.
        inputs: uint8, the network's input.
        sample: the one whose trace is kept.
        golden: recorded hashes of what is computed; the pictures then belong to the run that was verified.
        progress: told the number of samples done.

    Raises:
        InputError: when the inputs do not fit.
        ParityError: DS2TA-304 when a value is not the recorded one.
        UsageError: DS2TA-507 without a sample, 518 when there is no sample of this number.

    """
    graph.check_input(inputs)
    axis = graph.input_type.shape.index(None)
    samples = inputs.shape[axis]
    if samples == 0:
        raise UsageError(Problem("DS2TA-507", "there is no sample to run", graph.input_name))
    if not 0 <= sample < samples:
        raise UsageError(Problem("DS2TA-518", f"there is no sample {sample}", mend=f"the {samples} samples are 0 to {samples - 1}"))
    found = Observation(samples, sample, inputs.take([sample], axis).squeeze(axis))
    watch = _Watch(graph, found)
    digest = Digest(graph, [name for name in watch.wanted if golden is not None and name in golden])
    runtime, logits = ReferenceRuntime(graph), []
    for start in range(0, samples, step := samples_at_once(graph, watch.wanted)):
        batch = inputs.take(range(start, min(start + step, samples)), axis)
        trace = runtime.trace(batch, watch.wanted)
        digest.update(trace)
        logits.append(trace[graph.output])
        watch.add(batch, trace, start)
        if progress is not None:
            progress(min(start + step, samples))
    found.logits = np.concatenate(logits)
    wrong = [name for name, value in digest.hashes().items() if golden is not None and value != golden[name]]
    if wrong:
        raise ParityError(Divergence(GOLDEN, runtime.name, name, 0, None, (), None, None).problem() for name in wrong)
    return found


class _Watch:
    """Adds traces up."""

    def __init__(self, graph: Graph, found: Observation) -> None:
        self.graph, self.found = graph, found
        observable = set(graph.observable)
        self.working = [op for op in graph if isinstance(op, WORKING)]
        self.lookups = [op for op in graph if isinstance(op, Lookup)]
        self.spikes = [name for name in graph.observable if name.endswith(".spikes")]
        self.kept = {*self.spikes, *(name for op in (*map_ops(graph), *self.lookups) for name in op.outputs if name in observable)}
        needed = {*(name for op in (*self.working, *self.lookups) for name in op.inputs), *self.kept}
        self.views: list[Op] = []
        for op in reversed(graph.ops):  # what is not observable is made again of what is
            if needed.intersection(op.outputs) - observable:
                self.views.insert(0, op)
                needed.update(op.inputs)
        self.wanted = tuple(name for name in graph.observable if name in needed or name == graph.output)

    def add(self, batch: NDArray[np.uint8], trace: dict[str, Integers], start: int) -> None:
        """Add one batch, whose first sample has the number ``start``."""
        graph, found = self.graph, self.found
        values: dict[str, Integers] = {graph.input_name: batch, **trace}
        for op in self.views:
            made = op.execute(*(values[name].astype(np.int64) for name in op.inputs))
            values.update((name, value.astype(graph.types[name].dtype)) for name, value in zip(op.outputs, made, strict=True))
        samples = batch.shape[graph.input_type.shape.index(None)]
        for name in self.spikes:
            spikes = values[name]
            counted = spikes.reshape(len(spikes), -1).sum(axis=1, dtype=np.int64)
            fired = (spikes != 0).any(axis=(0, 1))
            found.spikes[name] = found.spikes.get(name, 0) + counted
            found.fired[name] = found.fired.get(name, np.zeros_like(fired)) | fired
        for lookup in self.lookups:
            heads, entries = lookup.table.shape
            places = values[lookup.inputs[0]].swapaxes(0, 2).reshape(heads, -1).astype(np.int64)
            counts = np.stack([np.bincount(row, minlength=entries) for row in places])
            found.scores[lookup.name] = found.scores.get(lookup.name, 0) + counts
        for op in self.working:
            found.work.setdefault(op.name, Work()).add(work_of(graph, op, [values[name] for name in op.inputs], samples))
        if start <= found.sample < start + samples:
            for name in self.kept:
                found.trace[name] = values[name].take([found.sample - start], axis := graph.types[name].shape.index(None)).squeeze(axis)
