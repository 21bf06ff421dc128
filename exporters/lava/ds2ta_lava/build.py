"""Turns a network into Lava's processes. Imports Lava; call :func:`shim.install` first on Python 3.11 and later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import shim
from .network import Network, Process

shim.install()

from lava.magma.core.run_conditions import RunSteps  # noqa: E402, TID253 - behind the shim, and only where Lava is asked for
from lava.magma.core.run_configs import Loihi2SimCfg  # noqa: E402, TID253

from .processes import leaves  # noqa: E402


@dataclass(frozen=True)
class Recording:
    """Where the traces go, and where the pixels come from.

    Attributes:
        files: name of a value -> file that its integers are appended to.
        pixels: .npy file of all samples.
        failures: directory for tracebacks.

    """

    files: Mapping[str, Path]
    pixels: Path
    failures: Path


def build(network: Network, recording: Recording) -> Any:
    """Return the process ``SpikingTransformer``: network, blocks, populations."""
    blocks: dict[str, list[Process]] = {}
    for process in network.processes:
        blocks.setdefault(process.block, []).append(process)
    read_in = {(process.block, name) for process in network.processes for name in process.inputs}
    parameters = []
    for block, members in blocks.items():
        made = {process.output for process in members}
        outside = [name for process in members if process.kind != "Encoder" for name in process.inputs if name not in made]
        sends = [name for name in made if name == network.output or any(name == read and other != block for other, read in read_in)]
        parameters.append(
            {
                "name": block,
                "leaves": [_leaf(network, process, recording) for process in members],
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


def _leaf(network: Network, process: Process, recording: Recording) -> tuple[type, dict[str, Any]]:
    """Return the class of a leaf process and its parameters."""
    encoder = process.kind == "Encoder"
    kind = leaves.Encoder if encoder else getattr(leaves, f"Population{len(process.inputs)}")
    made = [name for step in process.steps for name in step.outputs]
    values = network.values
    return kind, {
        "name": process.name,
        "kind": process.kind,
        "cell": network.cell(process),
        "time_steps": network.time_steps,
        "receives": process.inputs,
        "sends": process.output,
        "shapes": [values[name].shape for name in ([] if encoder else process.inputs)] + [values[process.output].shape],
        "record": {name: (recording.files[name], values[name].dtype, values[name].steps) for name in made if name in recording.files},
        "failures": recording.failures,
        "pixels": recording.pixels,
        "still": network.still,
    }
