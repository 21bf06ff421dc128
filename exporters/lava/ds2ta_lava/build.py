"""Turns a network into Lava's processes. Imports Lava; call :func:`shim.install` first on Python 3.11 and later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import shim, stock
from .cell import Cell
from .network import Network, Process
from .schedule import Schedule

shim.install()

from lava.magma.core.run_conditions import RunSteps  # noqa: E402, TID253 - behind the shim, and only where Lava is asked for
from lava.magma.core.run_configs import Loihi2SimCfg  # noqa: E402, TID253

from .processes import leaves  # noqa: E402
from .processes import stock as stock_processes  # noqa: E402


@dataclass(frozen=True)
class Recording:
    """Where the traces go, and where the pixels come from.

    Attributes:
        files: name of a value -> file that its integers are appended to.
        pixels: .npy file of all samples.
        failures: directory for tracebacks.
        steps: model steps of all samples together.
        cells: name of a process -> its arithmetic.
        kept: name of an op's first output -> file that what it remembers at a sample's end is appended to.

    """

    files: Mapping[str, Path]
    pixels: Path
    failures: Path
    steps: int
    cells: Mapping[str, Cell]
    kept: Mapping[str, Path]


def build(network: Network, recording: Recording) -> Any:
    """Return the process ``SpikingTransformer``: network, blocks, populations."""
    processes = _with_recorders(network, recording)
    schedule = Schedule.of(processes)
    blocks: dict[str, list[Process]] = {}
    for process in processes:
        blocks.setdefault(process.block, []).append(process)
    read_in = {(process.block, name) for process in processes for name in process.inputs}
    parameters = []
    for block, members in blocks.items():
        made = {process.output for process in members}
        outside = [name for process in members if process.kind != "Encoder" for name in process.inputs if name not in made]
        sends = [name for name in made if name == network.output or any(name == read and other != block for other, read in read_in)]
        parameters.append(
            {
                "name": block,
                "leaves": [_leaf(network, process, schedule, recording, _records(processes, process)) for process in members],
                "receives": {name: network.values[name].shape for name in dict.fromkeys(outside)},
                "sends": {name: network.values[name].shape for name in sorted(sends)},
            }
        )
    shape = network.values[network.output].shape
    root: Any = leaves.SpikingTransformer
    return root(name=network.name, blocks=parameters, sends=network.output, shape=shape)


def start(root: Any) -> None:
    """Compile the network and start its processes, which then wait."""
    root.create_runtime(run_cfg=Loihi2SimCfg(select_tag="fixed_pt", select_sub_proc_model=True))


def run_steps(root: Any, steps: int) -> None:
    """Run started processes for a number of time steps."""
    root.run(condition=RunSteps(num_steps=steps))


def _with_recorders(network: Network, recording: Recording) -> list[Process]:
    """Return the processes, and behind each stock one that only stock ones hear, one of ours that computes nothing.

    Stock processes cannot write to files: the first process of ours that receives their spikes does.
    """
    heard = {name for process in network.processes if process.lowering == "custom" for name in process.inputs}
    processes = []
    for process in network.processes:
        processes.append(process)
        spikes = process.output
        if process.lowering == "stock" and spikes in recording.files and spikes not in heard:
            processes.append(Process(f"{process.name}.recorder", "Elementwise", process.block, (spikes,), spikes, ()))
    return processes


def _records(processes: Sequence[Process], process: Process) -> list[str]:
    """Names of the values that a process of ours records: what it makes, and what it is the first to hear of stock ones."""
    stock_values = {other.output for other in processes if other.lowering == "stock"}
    first = {name: other for other in reversed(processes) if other.lowering == "custom" for name in other.inputs}
    heard = [name for name in process.inputs if name in stock_values and first.get(name) is process]
    return [*heard, *(name for step in process.steps for name in step.outputs)]


def _leaf(network: Network, process: Process, schedule: Schedule, recording: Recording, recorded: list[str]) -> tuple[type, dict[str, Any]]:
    """Return the class of a leaf process, or of a population of stock processes, and its parameters."""
    encoder, values = process.kind == "Encoder", network.values
    common = {
        "name": process.name,
        "receives": process.inputs,
        "sends": process.output,
        "shapes": [values[name].shape for name in ([] if encoder else process.inputs)] + [values[process.output].shape],
    }
    if process.lowering == "stock":
        recipe = stock.recipe(process, network.time_steps, schedule.start[process.name])
        return stock_processes.StockPopulation, {**common, "recipe": recipe}
    kind = leaves.Encoder if encoder else leaves.POPULATIONS[len(process.inputs) - 1]
    return kind, {
        **common,
        "kind": process.kind,
        "cell": recording.cells[process.name] if process.name in recording.cells else network.cell(process),
        "time_steps": network.time_steps,
        "start": schedule.start[process.name],
        "delay": process.delay,
        "lags": schedule.lags(process),
        "steps": recording.steps,
        "record": {name: (recording.files[name], values[name].dtype, values[name].steps) for name in recorded if name in recording.files},
        "kept": {step.outputs[0]: recording.kept[step.outputs[0]] for step in process.steps if step.outputs[0] in recording.kept},
        "failures": recording.failures,
        "pixels": recording.pixels,
        "still": network.still,
    }
