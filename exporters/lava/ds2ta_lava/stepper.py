"""Runs the network on NumPy alone, one time step after the other: the long-term meaning of the exported files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .network import Network


def run(network: Network, inputs: NDArray[Any], wanted: Sequence[str]) -> dict[str, NDArray[np.integer[Any]]]:
    """Run all samples at once and return the wanted values and always the output.

    Returns:
        Name -> ``[T, B, ...]`` (one step for what a still picture gives once), logits ``[B, classes]``.

    """
    network.check_wanted(wanted)
    samples = network.arrange(inputs)
    cells = [(process, network.cell(process)) for process in network.processes]
    kept: dict[str, list[NDArray[np.integer[Any]]]] = {name: [] for name in (*wanted, network.output)}
    for step in range(network.time_steps):
        arrived: dict[str, NDArray[Any]] = {network.input_name: samples if network.still else samples[:, step]}
        for process, cell in cells:
            values = cell.advance({name: arrived[name] for name in process.inputs})
            arrived[process.output] = values[process.output]
            for name in kept.keys() & {name for entry in process.steps for name in entry.outputs}:
                kind = network.values[name]
                if step < kind.steps or (kind.steps == 0 and step == network.time_steps - 1):
                    kept[name].append(values[name].astype(kind.dtype))
    return {name: parts[0] if network.values[name].steps == 0 else np.stack(parts) for name, parts in kept.items()}
