"""Bisect: the first integer, in the order of the computation, in which a runtime differs from another one."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.bisection.sides import Side, available, open_side
from ds2ta_deploy.errors import Problem, UnsupportedError, UsageError
from ds2ta_deploy.graph.clock import Clock
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import ValueType
from ds2ta_deploy.parity import GOLDEN, Digest, Divergence, Progress, locate, samples_at_once
from ds2ta_deploy.runtimes.base import Trace
from ds2ta_deploy.runtimes.reference import ReferenceRuntime
from ds2ta_deploy.runtimes.table import RUNTIMES
from ds2ta_deploy.verification import golden_hashes, golden_inputs

#: Where a divergence stands in the order: sample, time step or chunk of them, op (its outputs in order), index.
Order = tuple[int, float, int, tuple[int, ...]]


@dataclass(frozen=True)
class Located:
    """A divergence, and what both sides computed on its sample.

    Attributes:
        divergence: the first place.
        baseline: the one side.
        runtime: the other side.
        expected: the baseline's values of that sample alone, those that both have, and the network's input.
        found: the runtime's.

    """

    divergence: Divergence
    baseline: Side
    runtime: Side
    expected: Trace
    found: Trace


@dataclass(frozen=True)
class Bisection:
    """Result of a search.

    Attributes:
        samples: number of inputs.
        values: number of values compared.
        baseline: name of the runtime that the others were compared with.
        runtimes: names of the others.
        divergence: the first one; None when not one integer differs.
        located: more of it; None when only hashes differ, or a value is missing.

    """

    samples: int
    values: int
    baseline: str
    runtimes: tuple[str, ...]
    divergence: Divergence | None = None
    located: Located | None = None


def bisect(
    artifact: Artifact,
    runtime: str | None = None,
    baseline: str | None = None,
    *,
    inputs: NDArray[np.uint8] | None = None,
    checkpoint: Path | None = None,
    lava_python: Path | None = None,
    progress: Progress | None = None,
) -> Bisection:
    """Find the first place where a runtime differs from the baseline.

    First means: the earliest sample; in it the earliest time step (the steps of a chunk are one, for each of them needs
    all; values without time come after all steps); in that the first op in graph order; in its outputs the first index.
    Every value that can be observed takes part, since a wrong weight may change a product and no spike. An op reads
    nothing that comes later in this order: what it reads is equal on both sides, and the op is where they part.

    Args:
        artifact: what to search.
        runtime: name of the one to compare, or ``golden``, what was recorded at export; by default every one that can
            run here, and what was recorded.
        baseline: what it is compared with; by default ``torch`` when there is a checkpoint, ``reference`` otherwise.
        inputs: uint8; by default the artifact's golden inputs.
        checkpoint: the checkpoint behind the artifact, for the runtime ``torch``.
        lava_python: interpreter that has Lava, for the runtime ``lava``; the present one by default.
        progress: told the number of samples done.

    Raises:
        InputError: when artifact or inputs are invalid.
        MissingRuntimeError: when a runtime is not installed.
        UsageError: DS2TA-504 unknown runtime, 507 no sample, 509 nothing to compare.

    """
    graph = artifact.graph
    pixels = golden_inputs(artifact) if inputs is None else inputs
    graph.check_input(pixels)
    recorded = pixels.shape[graph.input_type.shape.index(None)] if inputs is None else None  # samples of which something was
    first = baseline or ("torch" if checkpoint is not None else ReferenceRuntime.name)
    if first == GOLDEN:
        raise UsageError(Problem("DS2TA-504", "what was recorded is no baseline", GOLDEN, f"add --runtime {GOLDEN} instead"))
    options = {"checkpoint": checkpoint, "lava_python": lava_python}
    named = [runtime] if runtime is not None else available(artifact, recorded=recorded is not None, **options)
    names = tuple(name for name in named if name != first)
    if not names:
        advice = f"name another with --runtime: {', '.join([*RUNTIMES, GOLDEN])}"
        raise UsageError(Problem("DS2TA-509", f"there is nothing to compare {first} with", mend=advice))
    sides = []
    for name in (first, *names):
        try:
            sides.append(open_side(name, artifact, recorded=recorded, **options))
        except UnsupportedError:
            if name in (first, runtime):
                raise  # nobody asked for the others by name: they take part where they can
    return search(graph, pixels, sides[0], sides[1:], golden=golden_hashes(artifact) if GOLDEN in names else None, progress=progress)


def search(
    graph: Graph,
    inputs: NDArray[np.uint8],
    baseline: Side,
    others: Sequence[Side],
    *,
    golden: dict[str, str] | None = None,
    progress: Progress | None = None,
) -> Bisection:
    """Trace few samples at a time, all their values, until a side differs; see :func:`bisect`."""
    axis, wanted = graph.input_type.shape.index(None), graph.observable
    samples = inputs.shape[axis]
    if samples == 0:
        raise UsageError(Problem("DS2TA-507", "there is no sample to compare", graph.input_name))
    names = tuple(side.name for side in others)
    digest = Digest(graph, [name for name in wanted if name in (golden or {})])
    for start, stop in _chunks(samples, samples_at_once(graph, wanted)):
        batch = inputs.take(range(start, stop), axis)
        expected = baseline.trace(start, batch)
        digest.update(expected)
        best: tuple[Order, Divergence, Located | None] | None = None
        for side in others:
            trace = side.trace(start, batch)
            found = first_divergence((side.name, baseline.name), expected, trace, graph, start, partial=side.runtime is None)
            if found is not None and (best is None or found[0] < best[0]):
                best = (*found, _one_sample(found[1], batch, (baseline, side), (expected, trace), graph, start))
        if best is not None:
            return Bisection(samples, len(wanted), baseline.name, names, best[1], best[2])
        if progress is not None:
            progress(stop)
    changed = [name for name, found in digest.hashes().items() if golden is not None and golden[name] != found]
    lost = Divergence(GOLDEN, baseline.name, changed[0], 0, None, (), None, None) if changed else None
    return Bisection(samples, len(wanted), baseline.name, names, lost)


def first_divergence(
    pair: tuple[str, str], expected: Trace, found: Trace, graph: Graph, start: int = 0, *, partial: bool = False
) -> tuple[Order, Divergence] | None:
    """Return the first difference of two traces, and where it stands in the order.

    Args:
        pair: names of the runtime and of the baseline.
        expected: the baseline's trace.
        found: the runtime's. A value that is missing, or of another shape or type, differs from its first step on; when
            it is the baseline's that is not what the graph says, the divergence is the baseline's.
        graph: gives the order.
        start: number of the first sample among all inputs.
        partial: a missing value is none that differs.

    """
    best: tuple[Order, Divergence] | None = None
    clock = Clock.of(graph)
    for position, name in enumerate(graph.observable):
        if name not in expected or (partial and name not in found):
            continue
        want, have = expected[name], found.get(name)
        axis = graph.types[name].shape.index(None)
        strange = not _fits(want, graph.types[name])
        if strange or have is None or have.shape != want.shape or have.dtype != want.dtype:
            odd, other = (pair[1], pair[0]) if strange else pair
            here: Divergence | None = Divergence(odd, other, name, start, None, (), None, None)
            order: Order = (start, 0 if axis else math.inf, position, ())
        else:
            here = locate(pair, name, want, have, axis, start)
            if here is None:
                continue
            order = (here.sample, math.inf if here.step is None else clock.block(name, here.step), position, here.index)
        if here is not None and (best is None or order < best[0]):
            best = order, here
    return best


def _fits(value: NDArray[np.integer], kind: ValueType) -> bool:
    sizes = zip(value.shape, kind.shape, strict=False)
    return value.dtype == kind.dtype and value.ndim == len(kind.shape) and all(want in (None, have) for have, want in sizes)


def _chunks(samples: int, most: int) -> Iterator[tuple[int, int]]:
    """One sample first, for most faults show at once; then ever more, for engines that are slow to start."""
    start, size = 0, 1
    while start < samples:
        stop = min(start + size, samples)
        yield start, stop
        start, size = stop, min(2 * size, most)


def _one_sample(
    divergence: Divergence,
    batch: NDArray[np.uint8],
    sides: tuple[Side, Side],
    traces: tuple[Trace, Trace],
    graph: Graph,
    start: int,
) -> Located | None:
    """Keep what both sides computed on the divergence's sample, not run again: an engine may depend on the batch."""
    if divergence.found is None:
        return None
    place = [divergence.sample - start]
    expected, found = traces
    both = [name for name in graph.observable if name in expected and name in found]
    axes = {name: graph.types[name].shape.index(None) for name in both}
    inputs: Trace = {graph.input_name: batch.take(place, graph.input_type.shape.index(None))}
    taken = [inputs | {name: trace[name].take(place, axes[name]) for name in both} for trace in (expected, found)]
    return Located(divergence, *sides, *taken)
