"""How the native runtime's time grows with time steps, tokens, width, batch and threads, beside the work that grows.

    python -m benchmarks.scaling --json scaling.json --plot scaling.svg

One size of a base network is changed at a time. All points of one axis are timed in turns, after their logits were compared.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import click
import msgspec
import numpy as np

from benchmarks.machine import Machine, machine, write
from ds2ta_deploy.errors import ParityError, Problem
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.operations import dense_operations
from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.models.config import NetworkConfig
from ds2ta_deploy.models.firing import set_firing_rates
from ds2ta_deploy.models.presets import PRESETS
from ds2ta_deploy.quantization import quantize
from ds2ta_deploy.runtimes.native.runtime import NativeRuntime
from ds2ta_deploy.synthetic import synthetic_pixels

#: What is varied, and how; tokens are a sixteenth of the pixels.
_AXES: dict[str, tuple[int, ...]] = {
    "time steps": (1, 2, 4, 8, 16),
    "tokens": (16, 64, 144, 256),
    "width": (64, 128, 192, 256, 384, 512),
    "batch": (1, 2, 4, 8),
    "threads": (1, 2, 4, 8, 16),
}

_HEAD_WIDTH = 32

_WARM_UP = 2


class Point(msgspec.Struct):
    """One size.

    Attributes:
        axis: what is varied.
        size: its value.
        operations: dense multiply-accumulates of a call, the first convolution of a still picture once.
        milliseconds: median of the calls.
        growth: of the time over that of the work, since the axis's first point: above 1 the time grows faster. More
            threads are expected to divide the time.

    """

    axis: str
    size: int
    operations: int
    milliseconds: float
    growth: float = 1.0


class Growth(msgspec.Struct, kw_only=True):
    """A whole run: where, and every point of every axis."""

    machine: Machine
    points: tuple[Point, ...]

    def summary(self) -> str:
        """Return a line for each axis, in Markdown."""
        lines = ["| | size: ms a call | time over work, last point against first |", "|---|---|---:|"]
        for axis in dict.fromkeys(point.axis for point in self.points):
            own = [point for point in self.points if point.axis == axis]
            sizes = ", ".join(f"{point.size}: {point.milliseconds:.2f}" for point in own)
            lines.append(f"| {axis} | {sizes} | {own[-1].growth:.2f} |")
        return "\n".join([str(self.machine), "", *lines])


def _graph(config: NetworkConfig, rate: float) -> Graph:
    """A random network of a config whose populations all fire at a rate."""
    model = random_network(config)
    set_firing_rates(model, lambda _name: rate)
    return freeze(quantize(model))


def _points(axis: str, base: NetworkConfig, rate: float) -> Iterator[tuple[int, int, Callable[[], object]]]:
    """Yield size, operations and call of every point, checked and warm."""
    changed = partial(msgspec.structs.replace, base)
    makers: dict[str, Callable[[int], NetworkConfig]] = {
        "time steps": lambda size: changed(time_steps=size),
        "tokens": lambda size: changed(image_height=round(size**0.5) * 4, image_width=round(size**0.5) * 4),
        "width": lambda size: changed(embed_dim=size, num_heads=size // _HEAD_WIDTH),
    }
    shared = None if axis in makers else _graph(base, rate)
    for size in _AXES[axis]:
        if axis == "threads" and size > (os.cpu_count() or 1):
            break
        batch, threads = (size if axis == name else 1 for name in ("batch", "threads"))
        graph = _graph(makers[axis](size), rate) if shared is None else shared
        shape = tuple(batch if length is None else length for length in graph.input_type.shape)
        inputs = synthetic_pixels("images", shape, 1)
        runtime = NativeRuntime(graph, threads)
        if not np.array_equal(runtime.trace(inputs, ())[graph.output], graph.execute(inputs)):
            raise ParityError(Problem("DS2TA-301", f"native computes other logits with {axis} {size}", graph.output))
        call = partial(runtime.trace, inputs, ())
        for _ in range(_WARM_UP):
            call()
        yield size, batch * sum(dense_operations(graph, op) for op in graph), call


def measure(axis: str, base: NetworkConfig, rate: float, rounds: int) -> list[Point]:
    """Time every point of an axis, in turns.

    Raises:
        ParityError: DS2TA-301 when a point's logits are not the network's.

    """
    calls = list(_points(axis, base, rate))
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for (_size, _operations, call), taken in zip(calls, seconds, strict=True):
            call()
            began = time.perf_counter()
            call()
            taken.append(time.perf_counter() - began)
    points = [
        Point(axis, size, operations, 1e3 * statistics.median(taken))
        for (size, operations, _call), taken in zip(calls, seconds, strict=True)
    ]
    for point in points:
        work = point.operations / points[0].operations / (point.size if axis == "threads" else 1)
        point.growth = point.milliseconds / points[0].milliseconds / work
    return points


def draw(points: list[Point], path: Path) -> None:
    """Draw time against work, one line an axis, both relative to the first point. Needs matplotlib."""
    import matplotlib as mpl

    mpl.use("svg" if path.suffix == ".svg" else "agg")
    import matplotlib.pyplot as plt

    axes = list(dict.fromkeys(point.axis for point in points))
    figure, panels = plt.subplots(1, len(axes), squeeze=False, figsize=(3.2 * len(axes), 3), layout="constrained")
    for axis, panel in zip(axes, panels[0], strict=True):
        own = [point for point in points if point.axis == axis]
        sizes = [point.size for point in own]
        panel.loglog(sizes, [point.milliseconds for point in own], "o-", color="#c25b2c", label="measured")
        panel.loglog(sizes, [point.milliseconds / point.growth for point in own], "--", color="#7a8793", label="as its work")
        panel.set_xlabel(axis)
        panel.set_xticks(sizes, [str(size) for size in sizes])
        panel.minorticks_off()
    panels[0][0].set_ylabel("ms a call")
    panels[0][0].legend()
    figure.savefig(path)
    plt.close(figure)


@click.command()
@click.option("--axis", "axes", type=click.Choice(list(_AXES)), multiple=True, default=tuple(_AXES), help="What to vary.  [default: all]")
@click.option("--depth", type=click.IntRange(1, 16), default=1, show_default=True, help="Encoder blocks of the base network.")
@click.option("--width", type=click.IntRange(64, 1024), default=384, show_default=True, help="Its width; whole heads of 32.")
@click.option("--rate", type=click.IntRange(1, 60), default=15, show_default=True, help="Firing rate, percent.")
@click.option("--rounds", type=click.IntRange(2, 100_000), default=20, show_default=True, help="Timed calls of every point.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the points here.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw them here (.svg or .png); needs matplotlib.")
def main(axes: tuple[str, ...], depth: int, width: int, rate: int, rounds: int, json_file: Path | None, plot: Path | None) -> None:
    """Print how time and work grow along every axis."""
    width -= width % _HEAD_WIDTH
    base = msgspec.structs.replace(PRESETS["ds2ta-4-384"], depth=depth, embed_dim=width, num_heads=width // _HEAD_WIDTH)
    points: list[Point] = []
    for axis in axes:
        points += (made := measure(axis, base, rate / 100, rounds))
        click.echo(f"\n| {axis} | ms a call | G dense products | growth over the work's |\n|---:|---:|---:|---:|")
        for point in made:
            click.echo(f"| {point.size} | {point.milliseconds:.2f} | {point.operations / 1e9:.3f} | {point.growth:.2f} |")
    if json_file is not None:
        write(Growth(machine=machine(), points=tuple(points)), json_file)
    if plot is not None:
        draw(points, plot)


if __name__ == "__main__":
    main()
