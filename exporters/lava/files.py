"""Writes ``lava/``: the process graph as data, its tensors, the package that runs them, and how to."""

import dataclasses
import io
import json
from typing import Any

import numpy as np

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.exporters.lava.ds2ta_lava.check import OPS
from ds2ta_deploy.exporters.lava.ds2ta_lava.schedule import Schedule
from ds2ta_deploy.exporters.lava.lowering import Lowering, LoweringKind, plan, time_steps
from ds2ta_deploy.exporters.lava.processes import LeafProcess, leaf_processes
from ds2ta_deploy.exporters.lava.readme import README
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.intervals import bits_needed
from ds2ta_deploy.graph.ops import Op, Repeat
from ds2ta_deploy.graph.populations import population_values
from ds2ta_deploy.graph.ranges import PROFILES, prove
from ds2ta_deploy.lava_package import LAVA, package_files

SCHEMA = "ds2ta-lava/1"

#: Bits of the widest weight behind the encoder: two synapses of 8 bits make ``(upper << 7) + lower``.
MOST_WEIGHT_BITS = 15

_CONTRACT = (
    "A process receives one value on each in-port, computes, and sends one value, all in the same time step; there is no delay on a "
    "connection. All state is cleared before the first of every time_steps steps."
)
_LATE_CONTRACT = (
    " On Lava a process sends delay steps later than it receives, and what is behind it begins as much later; what goes around it waits "
    "where both meet; a run takes latency steps more. A time step here is the model's."
)


def to_lava(graph: Graph, lowering: LoweringKind = "custom") -> dict[str, bytes]:
    """Return the files of the Lava target, by name relative to the artifact; equal graphs give equal bytes.

    Args:
        graph: what to export.
        lowering: ``stock`` puts populations on Lava's own processes where these compute the same integers.

    Raises:
        UnsupportedError: DS2TA-220 for every value that does not fit 24-bit state, with the bits it needs; DS2TA-240
            for ops that have no Lava form and for weights of more than 8 bits behind the encoder; DS2TA-241 for
            populations that do not fit a process; DS2TA-242 when stock processes express no population at all.

    Example:
        >>> sorted(to_lava(graph))[0]  # doctest: +SKIP
        'lava/README.md'

    """
    profile = PROFILES["loihi"]
    try:
        prove(graph, profile)
    except UnsupportedError as error:
        advice = f"freeze it under the profile {profile.name}"
        raise UnsupportedError(dataclasses.replace(p, mend=advice) if p.code == "DS2TA-220" else p for p in error.problems) from error
    unknown = [op for op in graph if type(op).__name__ not in OPS]
    if unknown:
        raise UnsupportedError(Problem("DS2TA-240", f"the op {type(op).__name__} has no Lava form", op.name) for op in unknown)
    planned = plan(graph, lowering)
    leaves = leaf_processes(graph, planned.stock)
    _check_weights(leaves)
    data = describe(graph, leaves, planned, profile.state_bits)
    files = {
        "graph.json": json.dumps(data, indent=1).encode() + b"\n",
        "tensors.npz": _tensors(graph),
        "README.md": README.format(name=graph.name, input=graph.input_name, latency=data["latency"]).encode(),
        **package_files(),
    }
    return {f"{LAVA}/{name}": files[name] for name in sorted(files)}


def describe(graph: Graph, leaves: list[LeafProcess], planned: Lowering, state_bits: int) -> dict[str, Any]:
    """Return the content of ``graph.json``; the exported README documents it."""
    steps, latency = time_steps(graph), Schedule.of(leaves).latency
    still = graph.input_type.shape[0] is None
    blocks = {leaf.block: [other.name for other in leaves if other.block == leaf.block] for leaf in leaves}
    sender = {leaf.output: leaf.name for leaf in leaves}
    return {
        "schema": SCHEMA,
        "name": graph.name,
        "time_steps": steps,
        "state_bits": state_bits,
        "time_step_contract": _CONTRACT + (_LATE_CONTRACT if latency else ""),
        "latency": latency,
        "input": {"name": graph.input_name, "shape": [size for size in graph.input_type.shape if size is not None], "still": still},
        "output": {"name": graph.output, "scale": graph.output_scale},
        "populations": list(population_values(graph)),
        "hierarchy": {"network": graph.name, "blocks": [{"name": name, "processes": members} for name, members in blocks.items()]},
        "processes": [_process(graph, leaf, planned) for leaf in leaves],
        "connections": [
            {"from": [sender[name], "s_out"], "to": [leaf.name, f"in_{port}"], "value": name}
            for leaf in leaves
            for port, name in enumerate(leaf.inputs)
            if name in sender
        ],
        "values": {name: _value(graph, name) for name in graph.types if name != graph.input_name},
    }


def _value(graph: Graph, name: str) -> dict[str, Any]:
    """Shape of one sample in one step; ``steps`` says in how many steps of a sample the value is there, 0: after the last."""
    kind = graph.types[name]
    if name == graph.output:
        return {"shape": list(kind.shape[1:]), "dtype": kind.dtype, "steps": 0}
    return {"shape": list(kind.shape[2:]), "dtype": kind.dtype, "steps": kind.shape[0]}


def _process(graph: Graph, leaf: LeafProcess, planned: Lowering) -> dict[str, Any]:
    still = _still_values(graph)
    return {
        "name": leaf.name,
        "kind": leaf.kind,
        "block": leaf.block,
        "lowering": "stock" if leaf.name in planned.stock else "custom",
        "why_not": planned.why_not.get(leaf.name),
        "inputs": list(leaf.inputs),
        "output": leaf.output,
        "delay": leaf.delay,
        "steps": [_step(op, once=op.outputs[0] in still) for op in leaf.ops],
    }


def _still_values(graph: Graph) -> set[str]:
    """Names of the values that are the same in all of several time steps, because a still picture gives them once."""
    still = {graph.input_name} if graph.input_type.shape[0] is None and time_steps(graph) > 1 else set()
    for op in graph:
        if still.issuperset(op.inputs) and not isinstance(op, Repeat):
            still.update(op.outputs)
    return still


def _step(op: Op, *, once: bool) -> dict[str, Any]:
    return {
        "op": type(op).__name__,
        "inputs": list(op.inputs),
        "outputs": list(op.outputs),
        "integers": {name: int(getattr(op, name)) for name in _fields(op) if name in op.INTEGERS},
        "tensors": {name: f"{op.name}/{name}" for name in _fields(op) if name in op.ARRAYS},
        "once": once,
    }


def _fields(op: Op) -> list[str]:
    return [field.name for field in dataclasses.fields(op)]


def _tensors(graph: Graph) -> bytes:
    """Uncompressed, so that the bytes do not depend on a compressor's version."""
    arrays = {f"{op.name}/{name}": np.ascontiguousarray(getattr(op, name)) for op in graph for name in sorted(op.ARRAYS)}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _check_weights(leaves: list[LeafProcess]) -> None:
    """The encoder runs outside the cores and may have any weights; elsewhere, two synapses of 8 bits hold at most 15."""
    problems = []
    for leaf in leaves:
        for op in leaf.ops:
            weight = getattr(op, "weight", None)
            if leaf.kind != "Encoder" and isinstance(weight, np.ndarray):
                low, high = int(weight.min()), int(weight.max())
                if bits_needed(low, high) > MOST_WEIGHT_BITS:
                    what = f"has weights in [{low}, {high}], which two synapses of 8 bits cannot hold"
                    problems.append(Problem("DS2TA-240", what, op.name, "use fewer weight bits for this layer"))
    if problems:
        raise UnsupportedError(problems)
