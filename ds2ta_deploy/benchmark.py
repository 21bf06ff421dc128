"""How fast runtimes are, side by side in one run, and whether they compute the same integers meanwhile."""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import product

import msgspec
import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.errors import ParityError, Problem
from ds2ta_deploy.runtimes.base import Runtime
from ds2ta_deploy.runtimes.native.runtime import NativeRuntime
from ds2ta_deploy.runtimes.reference import ReferenceRuntime
from ds2ta_deploy.runtimes.table import open_runtime

#: Runs of each contestant before any is timed.
WARM_UP = 2


class Timing(msgspec.Struct, kw_only=True):
    """How long one runtime takes for one call.

    Attributes:
        runtime: its name.
        batch: samples in a call.
        threads: how many threads it may use.
        milliseconds: median over the repeats.
        spread: half the distance between the quartiles, in milliseconds.
        best: shortest, in milliseconds.
        repeats: timed calls.
        open_milliseconds: from the artifact to the first result.
        memory: bytes that its plan holds; None where it does not tell.
        populations: name -> median milliseconds, where it tells.

    """

    runtime: str
    batch: int
    threads: int
    milliseconds: float
    spread: float
    best: float
    repeats: int
    open_milliseconds: float
    memory: int | None = None
    populations: dict[str, float] = {}


class _Contestant:
    """A runtime with its inputs, and what it took so far."""

    def __init__(self, name: str, artifact: Artifact, inputs: NDArray[np.uint8], batch: int, threads: int) -> None:
        self.name, self.inputs, self.batch, self.threads = name, inputs, batch, threads
        self.seconds: list[float] = []
        self.inside: list[NDArray[np.int64]] = []
        began = time.perf_counter()
        self.runtime: Runtime = open_runtime(name, artifact, threads=threads)
        self.logits = self.call()
        self.opened = time.perf_counter() - began

    def call(self) -> NDArray[np.integer]:
        """Run once; the output is what it returns last."""
        if not isinstance(self.runtime, NativeRuntime):
            return list(self.runtime.trace(self.inputs, ()).values())[-1]
        nanoseconds = np.zeros(len(self.runtime.plan.populations), np.int64)
        made = self.runtime.plan.run(self.inputs, (), nanoseconds)
        self.inside.append(nanoseconds)
        return list(made.values())[-1]

    def measure(self) -> None:
        """Run once and remember how long it took."""
        began = time.perf_counter()
        self.call()
        self.seconds.append(time.perf_counter() - began)

    def timing(self) -> Timing:
        """Summarise."""
        low, _, high = statistics.quantiles(self.seconds, n=4) if len(self.seconds) > 1 else self.seconds * 3
        told = Timing(
            runtime=self.name,
            batch=self.batch,
            threads=self.threads,
            milliseconds=round(statistics.median(self.seconds) * 1e3, 4),
            spread=round((high - low) / 2 * 1e3, 4),
            best=round(min(self.seconds) * 1e3, 4),
            repeats=len(self.seconds),
            open_milliseconds=round(self.opened * 1e3, 2),
        )
        if isinstance(self.runtime, NativeRuntime):
            medians = np.median(np.stack(self.inside[-len(self.seconds) :]), axis=0) / 1e6
            told.memory = self.runtime.plan.memory
            told.populations = {name: round(float(value), 4) for name, value in zip(self.runtime.plan.populations, medians, strict=True)}
        return told


def benchmark(
    artifact: Artifact,
    runtimes: Sequence[str],
    inputs: NDArray[np.uint8],
    *,
    batches: Sequence[int] = (1,),
    threads: Sequence[int] = (1,),
    repeats: int = 20,
    progress: Callable[[int], None] | None = None,
) -> list[Timing]:
    """Time runtimes on the same inputs, in turns, so that whatever slows the machine down slows all of them.

    Args:
        artifact: what to run.
        runtimes: names.
        inputs: uint8; repeated where a batch is larger.
        batches: samples in a call.
        threads: how many threads a runtime may use, where it can choose.
        repeats: timed calls of each.
        progress: told the number of rounds done.

    Raises:
        ParityError: DS2TA-301 when a runtime's logits are not the reference's.

    """
    graph, timings = artifact.graph, []
    axis = graph.input_type.shape.index(None)
    for batch, count in product(batches, threads):
        samples = np.ascontiguousarray(inputs.take(np.arange(batch) % inputs.shape[axis], axis))
        expected = ReferenceRuntime(graph).trace(samples, ())[graph.output]
        contestants = [_Contestant(name, artifact, samples, batch, count) for name in runtimes]
        wrong = [contestant.name for contestant in contestants if not np.array_equal(contestant.logits, expected)]
        if wrong:
            raise ParityError(Problem("DS2TA-301", f"{name} computes other logits than reference", graph.output) for name in wrong)
        for contestant in contestants * WARM_UP:
            contestant.call()
        gc.collect()
        for done in range(repeats):
            for contestant in contestants:
                contestant.measure()
            if progress is not None:
                progress(done + 1)
        timings += [contestant.timing() for contestant in contestants]
    return timings
