"""Runs the network on NumPy alone, one time step after the other: the long-term meaning of the exported files."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arithmetic import Tensor
from .cell import Cell
from .network import Network


def run(
    network: Network, inputs: NDArray[Any], wanted: Sequence[str], given: Mapping[str, Cell] | None = None
) -> dict[str, NDArray[np.integer[Any]]]:
    """Run all samples at once and return the wanted values and always the output.

    Args:
        network: what to run.
        inputs: uint8.
        wanted: names of values.
        given: name of a process -> its arithmetic, which may begin with something remembered; new ones by default.

    There is no clock here: a process computes as soon as a time step of all that it receives is there. What waits for
    a slower one waits in a queue, and is met in order.

    Returns:
        Name -> ``[T, B, ...]`` (one step for what a still picture gives once), logits ``[B, classes]``.

    """
    network.check_wanted(wanted)
    samples = network.arrange(inputs)
    given = {process.name: network.cell(process) for process in network.processes} if given is None else given
    cells = [(process, given[process.name], {name: deque[Tensor]() for name in process.inputs}) for process in network.processes]
    kept: dict[str, list[NDArray[np.integer[Any]]]] = {name: [] for name in (*wanted, network.output)}
    for step in range(network.time_steps):
        sent: dict[str, list[Tensor]] = {network.input_name: [samples if network.still else samples[:, step]]}
        for process, cell, waiting in cells:
            for name, queue in waiting.items():
                queue.extend(sent[name])
            sends = sent.setdefault(process.output, [])
            while all(waiting.values()):
                known = cell.advance({name: queue.popleft() for name, queue in waiting.items()})
                sends.extend(cell.sent(known, process.output))
                for name in kept.keys() & known.keys() - waiting.keys():
                    kept[name].extend(value.astype(network.values[name].dtype) for value in known[name])
    return {name: parts[-1] if network.values[name].steps == 0 else np.stack(parts) for name, parts in kept.items()}
