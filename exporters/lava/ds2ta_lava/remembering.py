"""Runs of any number of time steps, a frame in each, that begin with what an earlier run left behind.

What a run leaves behind is an array for every op that remembers something, under the name of the op's first output:

* ``Lif``: the membrane after reset and leak, ``[B, ...]``;
* ``TemporalWindow``: the products of the last ``taps - 1`` steps, the oldest first, ``[taps - 1, B, ...]``;
* ``TimeMix``: what it received in all steps so far, the first in front, zeros behind, ``[T - 1, B, ...]``.

Readouts are not among them: a run gives the sum of its own steps, without the bias, in every step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arithmetic import IntArray, NetworkError
from .cell import Cell, Step
from .memory import keeps, memory_of
from .network import Network, Process, Value

#: Under which a file says how many time steps were taken.
TAKEN = "time steps taken"

#: Name of an op's first output -> what it remembers.
Remembered = Mapping[str, NDArray[Any]]


def over_frames(network: Network, steps: int) -> Network:
    """Return the network for so many time steps, with a frame of its own in each, whose logits are running sums without a bias.

    Raises:
        NetworkError: for stock processes, which keep to themselves what they remember, and for chunks that do not fit.

    """
    stock = [process.name for process in network.processes if process.lowering == "stock"]
    if stock:
        raise NetworkError(f"Lava's own processes keep to themselves what they remember: {', '.join(stock)}")
    renamed: dict[str, str] = {}
    processes = tuple(_in_frames(process, renamed) for process in network.processes)
    values = {name: replace(value, steps=_steps_of(value, name, network, steps)) for name, value in network.values.items()}
    shape = network.input_shape if network.still else network.input_shape[1:]
    return replace(network, time_steps=steps, still=False, input_shape=(steps, *shape), processes=processes, values=values)


def _in_frames(process: Process, renamed: dict[str, str]) -> Process:
    steps = []
    for step in process.steps:
        if step.op == "Repeat":
            renamed[step.outputs[0]] = renamed.get(step.inputs[0], step.inputs[0])
            continue
        tensors = step.tensors
        if step.op == "Readout":
            tensors = {**tensors, "bias": np.zeros_like(tensors["bias"])}
        steps.append(replace(step, inputs=tuple(renamed.get(name, name) for name in step.inputs), tensors=tensors, once=False))
    inputs = tuple(renamed.get(name, name) for name in process.inputs)
    return replace(process, steps=tuple(steps), inputs=inputs, output=renamed.get(process.output, process.output))


def _steps_of(value: Value, name: str, network: Network, steps: int) -> int:
    if value.steps <= 1 < network.time_steps or value.steps == 0:  # a still picture's, or the logits
        return steps
    chunk = network.time_steps // value.steps
    if steps % chunk:
        raise NetworkError(f"{name} is made of chunks of {chunk} time steps, which do not fit into {steps}")
    return steps // chunk


def begin_with(network: Network, process: Process, remembered: Remembered, taken: int, samples: int | None) -> Cell:
    """Return the process' arithmetic, which begins after ``taken`` steps with what was remembered then.

    Args:
        network: as :func:`over_frames` makes it.
        process: one of its.
        remembered: of all ops; ignored when no step was taken.
        taken: time steps before this run.
        samples: how many run one after the other; None when they run side by side.

    Raises:
        NetworkError: when something is missing or of the wrong shape.

    """
    cell = network.cell(process)
    if taken == 0:
        return cell
    begin: list[dict[int, Any]] = [{} for _ in range(1 if samples is None else samples)]
    for index, step in enumerate(process.steps):
        count = keeps(step)
        for sample, memory in enumerate(begin):
            if count is not None:
                memory[index] = memory_of(step, _part(remembered, step, network, sample if samples is not None else None), taken)
            elif step.op == "Threshold":
                memory[index] = taken
    cell.begin = begin
    cell.reset()
    return cell


def _part(remembered: Remembered, step: Step, network: Network, sample: int | None) -> IntArray:
    name, count = step.outputs[0], keeps(step)
    shape = network.values[name].shape
    axis = 1 if count else 0
    array = remembered.get(name)
    if array is None or array.ndim != len(shape) + 1 + axis or array.shape[axis + 1 :] != shape or (count and len(array) != count):
        raise NetworkError(f"there is nothing of the right shape that {step.op} for {name} remembers")
    whole: IntArray = array.astype(np.int64)
    return whole if sample is None else whole[:, sample] if axis else whole[sample]


def cells(network: Network, remembered: Remembered, taken: int, samples: int | None) -> dict[str, Cell]:
    """Return :func:`begin_with` for each process, by its name."""
    return {process.name: begin_with(network, process, remembered, taken, samples) for process in network.processes}


def shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """Return the shape of what each op remembers of one sample, by the name of its first output."""
    found: dict[str, tuple[int, ...]] = {}
    for step in (step for process in network.processes for step in process.steps):
        count = keeps(step)
        if count is not None:
            name = step.outputs[0]
            found[name] = (*([count] if count else []), *network.values[name].shape)
    return found


def collect(network: Network, files: Mapping[str, Path], samples: int) -> dict[str, NDArray[Any]]:
    """Put together what the samples of a run on Lava left behind, one after the other, in files of int64."""
    made = {}
    for name, shape in shapes(network).items():
        array = np.fromfile(files[name], np.int64).reshape(samples, *shape)
        made[name] = array.swapaxes(0, 1) if len(shape) > len(network.values[name].shape) else array
    return made


def read(path: Path) -> tuple[int, dict[str, NDArray[Any]]]:
    """Return the time steps taken and what was remembered then; the beginning when there is no such file.

    Raises:
        NetworkError: when it is no such file.

    """
    if not path.exists():
        return 0, {}
    with np.load(path, allow_pickle=False) as file:
        if TAKEN not in file.files:
            raise NetworkError(f"{path.name} does not say how many time steps were taken")
        return int(file[TAKEN]), {name: file[name] for name in file.files if name != TAKEN}


def write(path: Path, taken: int, remembered: Remembered) -> None:
    """Write what :func:`read` reads."""
    with path.open("wb") as file:
        np.savez(file, **{TAKEN: np.int64(taken), **remembered})  # type: ignore[arg-type]
