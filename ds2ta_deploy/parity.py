"""Parity: two traces compared, integer for integer. There is no tolerance."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.artifact import ParityEntry
from ds2ta_deploy.errors import ParityError, Problem, UsageError
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.runtimes.base import Runtime, Trace

#: Bytes of values that are held at once for one runtime.
_MEMORY_BUDGET = 192 * 2**20

#: A layer that fires less or more than this proves little.
FIRING_LIMITS = (0.005, 0.95)

#: Name under which the baseline is compared with the recorded hashes.
GOLDEN = "golden"

#: Told how many samples are done.
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Divergence:
    """The first place where two runtimes differ.

    Attributes:
        runtime: the one that differs from the baseline.
        baseline: name of the runtime it is compared with.
        value: dotted name.
        sample: index of the sample among all inputs.
        step: time step; None for values without time, such as logits.
        index: position inside the sample and step.
        expected: the baseline's integer.
        found: the runtime's integer; None when the shape is wrong or the value is missing.

    """

    runtime: str
    baseline: str
    value: str
    sample: int
    step: int | None
    index: tuple[int, ...]
    expected: int | None
    found: int | None

    def problem(self) -> Problem:
        """Describe it in one line."""
        if self.runtime == GOLDEN and self.found is None:
            return Problem("DS2TA-304", f"{self.baseline} no longer computes what was recorded at export (its hash differs)", self.value)
        if self.found is None:
            return Problem("DS2TA-302", f"{self.runtime} gives no such value, or one of another shape or type", self.value)
        step = "" if self.step is None else f", time step {self.step}"
        place = f"sample {self.sample}{step}, index {list(self.index)}"
        if self.runtime == GOLDEN:
            return Problem("DS2TA-304", f"{self.baseline} computes {self.expected} where {self.found} was recorded ({place})", self.value)
        return Problem("DS2TA-301", f"{self.runtime} computes {self.found} where {self.baseline} has {self.expected} ({place})", self.value)


@dataclass
class RuntimeResult:
    """How one runtime compares with the baseline.

    Attributes:
        runtime: its name.
        values: how many it was compared on.
        integers: how many these hold.
        different: how many of them differ.
        first: the first that differs.
        differences: name of a value -> how many of its integers differ; values that agree are left out.
        hidden: wanted values that it cannot give.

    """

    runtime: str
    values: int = 0
    integers: int = 0
    different: int = 0
    first: Divergence | None = None
    differences: dict[str, int] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()

    def count(self, name: str, different: int) -> None:
        """Add what differs in one value."""
        if different:
            self.different += different
            self.differences[name] = self.differences.get(name, 0) + different

    def add(self, other: "RuntimeResult", start: int) -> None:
        """Add what was found on other samples, the first of which is number ``start``."""
        self.values = other.values
        self.integers += other.integers
        self.different += other.different
        if self.first is None and other.first is not None:
            self.first = replace(other.first, sample=other.first.sample + start)


@dataclass
class ParityReport:
    """Result of a comparison of several runtimes on the same inputs.

    Attributes:
        samples: number of inputs.
        baseline: name of the runtime that the others are compared with.
        results: one a runtime that was compared; without the baseline.
        hashes: SHA-256 of every value over all samples, as the baseline computed it.
        firing_rates: mean of every ``*.spikes``.
        spike_counts: spikes, and neurons times steps times samples, of every ``*.spikes``.
        output: the baseline's logits of all samples.
        left_out: name of a runtime that nobody asked for by name and that cannot run this network -> why.

    """

    samples: int
    baseline: str
    results: list[RuntimeResult]
    hashes: dict[str, str] = field(default_factory=dict)
    firing_rates: dict[str, float] = field(default_factory=dict)
    spike_counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    output: NDArray[np.integer] = field(default_factory=lambda: np.zeros((0, 0), np.int32))
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether something was compared and not one integer differs."""
        return bool(self.results) and all(result.different == 0 for result in self.results)

    @property
    def silent(self) -> dict[str, float]:
        """Layers whose firing rate makes the comparison say little."""
        low, high = FIRING_LIMITS
        return {name: rate for name, rate in self.firing_rates.items() if not low < rate < high}

    def entries(self) -> tuple[ParityEntry, ...]:
        """Summarise for the manifest."""
        return tuple(ParityEntry(result.runtime, self.samples, result.values, result.integers, result.different) for result in self.results)

    def raise_on_difference(self) -> None:
        """Raise ParityError (DS2TA-301, 302) with the first divergence of every runtime that differs."""
        found = [result.first.problem() for result in self.results if result.first is not None]
        if found:
            raise ParityError(found)


def compare_runtimes(
    graph: Graph,
    inputs: NDArray[np.uint8],
    baseline: Runtime,
    others: Sequence[Runtime],
    wanted: Sequence[str],
    *,
    golden: dict[str, str] | None = None,
    progress: Progress | None = None,
) -> ParityReport:
    """Run every runtime on the inputs, batch by batch, and compare every wanted value with the baseline's.

    What a runtime hides is not asked of it; the number of values in its result tells.

    Args:
        graph: gives the order and the batch axis of the values.
        inputs: uint8, the network's input.
        baseline: what the others are compared with.
        others: what is compared.
        wanted: names of the values.
        golden: recorded hashes to compare the baseline itself with; a difference is reported as runtime :data:`GOLDEN`.
        progress: told the number of samples done.

    Raises:
        UsageError: DS2TA-507 when there is no sample.

    """
    axis = graph.input_type.shape.index(None)
    samples = inputs.shape[axis]
    if samples == 0:
        raise UsageError(Problem("DS2TA-507", "there is no sample to compare", graph.input_name))
    report = ParityReport(samples, baseline.name, [RuntimeResult(runtime.name) for runtime in others])
    digest = Digest(graph, wanted)
    visible = [tuple(name for name in wanted if name not in runtime.hidden) for runtime in others]
    for runtime, result in zip(others, report.results, strict=True):
        result.hidden = tuple(name for name in wanted if name in runtime.hidden)
    outputs = []
    for start, stop in _batches(graph, wanted, samples):
        batch = inputs.take(range(start, stop), axis)
        expected = baseline.trace(batch, wanted)
        digest.update(expected)
        outputs.append(expected[graph.output])
        for runtime, result, names in zip(others, report.results, visible, strict=True):
            _tally(result, baseline.name, expected, runtime.trace(batch, names), graph, names, start)
        if progress is not None:
            progress(stop)
    report.hashes, report.firing_rates, report.spike_counts = digest.hashes(), digest.rates(), digest.counts()
    report.output = np.concatenate(outputs) if outputs else report.output
    if golden is not None:
        recorded = _against_golden(graph, report, golden, wanted)
        report.results += [recorded] if recorded.values else []
    return report


def _batches(graph: Graph, wanted: Sequence[str], samples: int) -> Iterable[tuple[int, int]]:
    """Cut the samples so that one batch's values fit the memory budget."""
    step = samples_at_once(graph, wanted)
    return ((start, min(start + step, samples)) for start in range(0, samples, step))


def samples_at_once(graph: Graph, wanted: Sequence[str]) -> int:
    """Return how many samples' values fit the memory budget of one runtime, 64 at most."""
    sizes = {"uint8": 1, "int16": 2, "int32": 4}
    one = sum(int(np.prod([size or 1 for size in graph.types[name].shape])) * sizes[graph.types[name].dtype] for name in wanted)
    return max(1, min(64, _MEMORY_BUDGET // max(one, 1)))


def _tally(result: RuntimeResult, baseline: str, expected: Trace, found: Trace, graph: Graph, wanted: Sequence[str], start: int) -> None:
    result.values = len(wanted)
    for name in wanted:
        want, have = expected[name], found.get(name)
        result.integers += want.size
        if have is None or have.shape != want.shape or have.dtype != want.dtype:
            result.count(name, want.size)
            result.first = result.first or Divergence(result.runtime, baseline, name, start, None, (), None, None)
            continue
        count = int(np.count_nonzero(want != have))
        result.count(name, count)
        if count and result.first is None:
            result.first = locate((result.runtime, baseline), name, want, have, graph.types[name].shape.index(None), start)


def locate(
    pair: tuple[str, str], name: str, want: NDArray[np.integer], have: NDArray[np.integer], batch_axis: int, start: int
) -> Divergence | None:
    """Find the first difference of one value in (sample, step, rest) order.

    Args:
        pair: names of the runtime and of the baseline.
        name: of the value.
        want: the baseline's integers.
        have: the runtime's, of the same shape.
        batch_axis: first, or second behind time.
        start: number of the first sample among all inputs.

    """
    order = (batch_axis, *(other for other in range(want.ndim) if other != batch_axis))
    unequal = (want != have).transpose(order)
    if not unequal.any():
        return None
    first = tuple(int(position) for position in np.unravel_index(int(unequal.argmax()), unequal.shape))
    sample, rest = first[0], first[1:]
    step, index = (rest[0], rest[1:]) if batch_axis == 1 else (None, rest)
    expected, found = int(want.transpose(order)[first]), int(have.transpose(order)[first])
    return Divergence(*pair, name, start + sample, step, index, expected, found)


def _against_golden(graph: Graph, report: ParityReport, golden: dict[str, str], wanted: Sequence[str]) -> RuntimeResult:
    """Compare hashes; a differing hash counts as one difference, its place inside the value is unknown."""
    result = RuntimeResult(GOLDEN)
    for name in wanted:
        if name not in golden:
            continue
        result.values += 1
        result.integers += int(np.prod([report.samples if size is None else size for size in graph.types[name].shape]))
        if report.hashes[name] != golden[name]:
            result.count(name, 1)
            result.first = result.first or Divergence(GOLDEN, report.baseline, name, 0, None, (), None, None)
    return result


class Digest:
    """Hashes and firing rates that do not depend on how the samples are batched."""

    def __init__(self, graph: Graph, wanted: Sequence[str]) -> None:
        self._graph = graph
        self._digests = {name: hashlib.sha256(f"{graph.types[name].dtype}{graph.types[name].shape}".encode()) for name in wanted}
        self._sums = {name: [0, 0] for name in wanted if name.endswith(".spikes")}

    def update(self, trace: Trace) -> None:
        """Add one batch."""
        for name, digest in self._digests.items():
            value = trace[name]
            kind = self._graph.types[name]
            little = np.moveaxis(value, kind.shape.index(None), 0).astype(np.dtype(kind.dtype).newbyteorder("<"))
            digest.update(np.ascontiguousarray(little).data)
            if name in self._sums:
                self._sums[name][0] += int(value.sum(dtype=np.int64))
                self._sums[name][1] += value.size

    def hashes(self) -> dict[str, str]:
        """Return the hashes so far."""
        return {name: digest.hexdigest() for name, digest in self._digests.items()}

    def counts(self) -> dict[str, tuple[int, int]]:
        """Return spikes, and neurons times steps times samples, so far."""
        return {name: (total, count) for name, (total, count) in self._sums.items()}

    def rates(self) -> dict[str, float]:
        """Return the firing rates so far."""
        return firing_rates(self.counts())


def firing_rates(counts: dict[str, tuple[int, int]]) -> dict[str, float]:
    """Return spikes over neurons, steps and samples."""
    return {name: total / max(count, 1) for name, (total, count) in counts.items()}
