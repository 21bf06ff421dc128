"""How long the native runtime needs to start, and what it holds: the plan and the first call, in a process of its own.

    python -m benchmarks.startup --preset ds2ta-4-384

Time and memory of a plan are those of a fresh process: nothing is warm, and nothing that was freed before can be used again.
"""

import ctypes
import multiprocessing
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
import numpy as np

from benchmarks.machine import Machine, machine, write
from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.errors import ParityError, Problem
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.models.presets import PRESETS
from ds2ta_deploy.runtimes.native.runtime import NativeRuntime


class Startup(msgspec.Struct, kw_only=True):
    """What starting took.

    Attributes:
        plan: milliseconds from the graph to the plan.
        first_call: milliseconds of the first call.
        weights: bytes of the graph's arrays: weights, biases, thresholds, tables.
        arena: bytes in which a sample's values lie.
        held: bytes that the plan holds: packed weights, arena, and what it works in.
        peak: bytes by which the process had grown at most when the first call was done; None where the system does not tell.

    """

    plan: float
    first_call: float
    weights: int
    arena: int
    held: int
    peak: int | None

    @property
    def ratio(self) -> float:
        """Memory that the plan holds over weights and arena."""
        return self.held / (self.weights + self.arena)


class Starting(msgspec.Struct, kw_only=True):
    """A whole run: where, what, and every start."""

    machine: Machine
    preset: str
    threads: int
    starts: tuple[Startup, ...]

    @property
    def best(self) -> Startup:
        """The quickest."""
        return min(self.starts, key=lambda start: start.plan + start.first_call)

    @property
    def growth(self) -> float | None:
        """The most by which a process grew, over weights and arena."""
        peaks = [start.peak for start in self.starts if start.peak is not None]
        return max(peaks) / (self.best.weights + self.best.arena) if peaks else None

    def summary(self) -> str:
        """Return time and memory, in Markdown."""
        best, needed = self.best, self.best.weights + self.best.arena
        lines = [
            "| | |",
            "|---|---:|",
            f"| plan, best of {len(self.starts)} | {best.plan:.1f} ms |",
            f"| its first call | {best.first_call:.1f} ms |",
            f"| weights | {best.weights / 1e6:.2f} MB |",
            f"| arena of a thread | {best.arena / 1e6:.2f} MB |",
            f"| the plan holds | {best.held / 1e6:.2f} MB, {best.ratio:.2f} x weights and arena |",
        ]
        if self.growth is not None:
            lines.append(f"| the process grew by at most | {self.growth * needed / 1e6:.2f} MB, {self.growth:.2f} x weights and arena |")
        return "\n".join([f"{self.preset}, threads: {self.threads}. {self.machine}", "", *lines])


def weights_of(graph: Graph) -> int:
    """Return the bytes of all arrays of a graph."""
    return sum(value.nbytes for op in graph for value in vars(op).values() if isinstance(value, np.ndarray))


def _resident(field: str) -> int | None:
    """Return what Linux says of this process's memory, in bytes."""
    status = Path("/proc/self/status")
    found = re.search(rf"^{field}:\s+(\d+) kB", status.read_text(), re.MULTILINE) if status.exists() else None
    return int(found[1]) * 1024 if found else None


def _forget_peak() -> bool:
    """Let Linux measure this process's peak anew, from what it really needs now; return whether it does."""
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what was freed, and would be used again without being seen
        Path("/proc/self/clear_refs").write_text("5")
    except (AttributeError, OSError):
        return False
    return True


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set a variable for the processes that are started meanwhile."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def start(folder: Path, pictures: Path, threads: int) -> Startup:
    """Plan an artifact's graph and run it once.

    Args:
        folder: the artifact.
        pictures: ``.npy``, the network's input.
        threads: that share the work of a call.

    Raises:
        ParityError: DS2TA-301 when the logits are not the graph's.

    """
    graph, inputs = Artifact.open(folder).graph, np.load(pictures)
    before = _resident("VmRSS") if _forget_peak() else None
    began = time.perf_counter()
    runtime = NativeRuntime(graph, threads)
    planned = time.perf_counter()
    logits = runtime.trace(inputs, ())[graph.output]
    done = time.perf_counter()
    after = _resident("VmHWM")
    if not np.array_equal(logits, graph.execute(inputs)):
        raise ParityError(Problem("DS2TA-301", "native computes other logits in its first call", graph.output))
    return Startup(
        plan=1e3 * (planned - began),
        first_call=1e3 * (done - planned),
        weights=weights_of(graph),
        arena=runtime.plan.arena,
        held=runtime.plan.memory,
        peak=None if before is None or after is None else after - before,
    )


def start_alone(folder: Path, pictures: Path, threads: int) -> Startup:
    """Do the same in a process of its own, which takes memory by small pages.

    NumPy asks for pages of 2 MB where it makes large arrays. What is freed there and used again, by anyone, counts 2 MB at the first touch.
    """
    with _environment("NUMPY_MADVISE_HUGEPAGE", "0"), multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(start, (folder, pictures, threads))


@click.command()
@click.option("--preset", type=click.Choice(sorted(PRESETS)), default="ds2ta-4-384", show_default=True, help="Architecture.")
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="Threads that share the work of a call.")
@click.option("--rounds", type=click.IntRange(1, 1000), default=5, show_default=True, help="Processes that are started.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write everything measured here.")
def main(preset: str, threads: int, rounds: int, json_file: Path | None) -> None:
    """Print how long starting takes and how much memory a plan holds."""
    from benchmarks.networks import network_at_rate  # with PyTorch, which is no part of the processes that are started

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        network = network_at_rate(preset, 0.15, folder, count=1)
        np.save(folder / "pictures.npy", network.pictures)
        found = [start_alone(network.grids[8].artifact.path, folder / "pictures.npy", threads) for _ in range(rounds)]
    starting = Starting(machine=machine(), preset=preset, threads=threads, starts=tuple(found))
    click.echo(starting.summary())
    if json_file is not None:
        write(starting, json_file)


if __name__ == "__main__":
    main()
