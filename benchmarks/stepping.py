"""What a time step costs that is computed by itself: the native runtime step by step, beside its sequence of T steps.

    python -m benchmarks.stepping

A frame of its own at every step for both, one sample, one thread; processor time, which other programs disturb less. A step
by itself cannot share rows of weights with its neighbours, and reads and writes what is remembered.
"""

import statistics
import time
from pathlib import Path

import click
import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import Machine, machine, write
from ds2ta_deploy.checkpoints import load_checkpoint
from ds2ta_deploy.errors import ParityError, Problem
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.stepping import StepForm, over_frames
from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.models.firing import set_firing_rates
from ds2ta_deploy.models.presets import PRESETS
from ds2ta_deploy.quantization import quantize
from ds2ta_deploy.runtimes.native.runtime import NativeRuntime
from ds2ta_deploy.runtimes.native.stepper import NativeStepper
from ds2ta_deploy.synthetic import synthetic_pixels

_EXAMPLES = Path(__file__).parents[1] / "examples" / "fashion_mnist"

#: The bundled networks, and one of a preset, for event frames.
BUNDLED, PRESET = ("ds2ta-2-64", "spikformer-2-64", "statten-2-64"), "ds2ta-2-256"


class Cost(msgspec.Struct):
    """What a network's time step costs.

    Attributes:
        name: of the network.
        steps: T.
        span: time steps that are computed at once in the step form.
        sequence: processor milliseconds of the sequence, divided by T; median of the rounds.
        step: processor milliseconds of the T steps, divided by T; median of the rounds.

    """

    name: str
    steps: int
    span: int
    sequence: float
    step: float

    @property
    def ratio(self) -> float:
        """How many times as long a step takes by itself."""
        return self.step / self.sequence


class Stepping(msgspec.Struct, kw_only=True):
    """A whole run: where, and what every network's step costs."""

    machine: Machine
    costs: tuple[Cost, ...]

    def summary(self) -> str:
        """Return a line for each network, in Markdown."""
        heads = ("network", "T", "steps at once", "ms a step of the sequence", "ms a step by itself", "ratio")
        lines = [f"| {' | '.join(heads)} |", "|---|---:|---:|---:|---:|---:|"]
        for cost in self.costs:
            cells = (cost.name, cost.steps, cost.span, f"{cost.sequence:.3f}", f"{cost.step:.3f}", f"{cost.ratio:.2f}")
            lines.append(f"| {' | '.join(map(str, cells))} |")
        return "\n".join([str(self.machine), "", *lines])


def bundled(name: str) -> Graph:
    """Return the graph of a bundled network."""
    return freeze(quantize(load_checkpoint(_EXAMPLES / f"{name}.safetensors")))


def at_rate(preset: str, rate: float) -> Graph:
    """Return the graph of a random network of a preset, whose populations all fire at a rate."""
    model = random_network(PRESETS[preset])
    set_firing_rates(model, lambda _name: rate)
    return freeze(quantize(model))


def measure(name: str, graph: Graph, rounds: int) -> Cost:
    """Time the sequence and its steps in turns.

    Raises:
        ParityError: DS2TA-301 when the steps' logits are not the sequence's.

    """
    form = StepForm.of(graph)
    steps = form.trained_steps
    sequence = over_frames(graph, steps)
    frames = _frames(graph, steps)
    runtime, run = NativeRuntime(sequence, 1), NativeStepper(form, 1, (), 1)
    taken: dict[str, list[float]] = {"sequence": [], "step": []}
    for _ in range(rounds):
        began = time.thread_time()
        expected = runtime.trace(frames, ())[sequence.output]
        taken["sequence"].append(time.thread_time() - began)
        run.restart()
        began = time.thread_time()
        for frame in frames:
            run.step(frame)
        found = run.logits()
        taken["step"].append(time.thread_time() - began)
        if not np.array_equal(expected, found):
            raise ParityError(Problem("DS2TA-301", f"{name} computes other logits step by step", graph.output))
    each = (1e3 * statistics.median(seconds) / steps for seconds in taken.values())
    return Cost(name, steps, form.span, *each)


def _frames(graph: Graph, steps: int) -> NDArray[np.uint8]:
    """Another picture at every step, or event frames, of one sample."""
    if graph.input_type.shape[0] is None:
        return synthetic_pixels("images", (steps, *(size or 0 for size in graph.input_type.shape[1:])), 1)[:, None]
    return synthetic_pixels("frames", (steps, 1, *(size or 0 for size in graph.input_type.shape[2:])), 1)


@click.command()
@click.option("--rate", type=click.IntRange(1, 60), default=15, show_default=True, help="Firing rate of the random network, percent.")
@click.option("--rounds", type=click.IntRange(2, 100_000), default=50, show_default=True, help="Timed runs of T steps.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write everything measured here.")
def main(rate: int, rounds: int, json_file: Path | None) -> None:
    """Print what a step costs by itself."""
    costs = [measure(name, bundled(name), rounds) for name in BUNDLED]
    costs.append(measure(f"{PRESET}-{rate}%", at_rate(PRESET, rate / 100), rounds))
    found = Stepping(machine=machine(), costs=tuple(costs))
    click.echo(found.summary())
    if json_file is not None:
        write(found, json_file)


if __name__ == "__main__":
    main()
