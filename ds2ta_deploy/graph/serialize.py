"""A graph as one safetensors file: tensors as they are, structure as JSON in the header. No pickle."""

import dataclasses
import json
import struct
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import safetensors
import safetensors.numpy

from ds2ta_deploy.errors import InputError, Problem
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import OPS, Dtype, Op, ValueType
from ds2ta_deploy.reading import read_regular

#: Key of the single header entry; one entry keeps the bytes independent of any map's order.
HEADER_KEY = "ds2ta-graph/1"


class _OpRecord(msgspec.Struct, forbid_unknown_fields=True):
    """One op: its class, wiring and integer attributes; array fields are tensors ``<name>/<field>``."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, int]


class _GraphRecord(msgspec.Struct, forbid_unknown_fields=True):
    """The structure of the graph."""

    name: str
    input_name: str
    input_shape: tuple[int | None, ...]
    input_dtype: Dtype
    ops: tuple[_OpRecord, ...]
    output: str
    output_scale: float
    facts: dict[str, str | int | float]


def _own_fields(op: type[Op]) -> list[str]:
    return [field.name for field in dataclasses.fields(op) if field.name not in ("name", "inputs", "outputs")]


def to_bytes(graph: Graph) -> bytes:
    """Serialize; equal graphs give equal bytes."""
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    records = []
    for op in graph:
        values = {name: getattr(op, name) for name in _own_fields(type(op))}
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        tensors.update({f"{op.name}/{name}": np.ascontiguousarray(array) for name, array in arrays.items()})
        attributes = {name: int(value) for name, value in values.items() if name not in arrays}
        records.append(_OpRecord(type(op).__name__, op.name, op.inputs, op.outputs, attributes))
    structure = _GraphRecord(
        graph.name,
        graph.input_name,
        graph.input_type.shape,
        graph.input_type.dtype,
        tuple(records),
        graph.output,
        graph.output_scale,
        graph.facts,
    )
    header = msgspec.json.encode(structure, order="sorted").decode()
    return safetensors.numpy.save(dict(sorted(tensors.items())), {HEADER_KEY: header})


def from_bytes(data: bytes, where: str = "graph") -> Graph:
    """Read a graph back and check its wiring.

    Raises:
        InputError: DS2TA-140 when the bytes are no graph file, DS2TA-141 when its structure is wrong, DS2TA-142
            when tensors are missing, unexpected or of the wrong kind (all of them).
        UnsupportedError: DS2TA-210 or 211 when the ops do not fit together.

    """
    try:
        tensors = safetensors.numpy.load(data)
        length = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8 : 8 + length]).get("__metadata__", {}).get(HEADER_KEY)
    except (safetensors.SafetensorError, ValueError, struct.error, AttributeError, KeyError) as error:
        raise InputError(Problem("DS2TA-140", f"is not a graph file: {error}", where)) from error
    if header is None:
        raise InputError(Problem("DS2TA-140", f"has no {HEADER_KEY!r} in its header", where))
    try:
        record = msgspec.json.decode(header, type=_GraphRecord)
    except msgspec.MsgspecError as error:
        raise InputError(Problem("DS2TA-141", str(error), where)) from error
    ops = _build_ops(record.ops, tensors, where)
    graph = Graph(
        record.name,
        record.input_name,
        ValueType(record.input_shape, record.input_dtype),
        ops,
        record.output,
        record.output_scale,
        record.facts,
    )
    _ = graph.types  # raises when the wiring is wrong
    return graph


def _build_ops(records: tuple[_OpRecord, ...], tensors: dict[str, np.ndarray[Any, Any]], where: str) -> tuple[Op, ...]:
    problems: list[Problem] = []
    ops: list[Op] = []
    left = dict(tensors)
    for record in records:
        kind = OPS.get(record.op)
        if kind is None:
            problems.append(Problem("DS2TA-141", f"op {record.op!r} is not known", f"{where}: {record.name}", f"known: {', '.join(OPS)}"))
            continue
        arrays = {name: left.pop(f"{record.name}/{name}") for name in _own_fields(kind) if f"{record.name}/{name}" in left}
        values: dict[str, Any] = {**record.attributes, **arrays}
        wrong = sorted(set(values) ^ set(_own_fields(kind)))
        if wrong:
            problems.append(Problem("DS2TA-142", f"fields missing or unexpected: {', '.join(wrong)}", f"{where}: {record.name}"))
        elif set(arrays) != set(kind.ARRAYS):
            mixed = ", ".join(sorted(set(arrays) ^ set(kind.ARRAYS)))
            problems.append(
                Problem("DS2TA-142", f"fields are a number instead of a tensor, or the reverse: {mixed}", f"{where}: {record.name}")
            )
        else:
            ops.append(kind(name=record.name, inputs=record.inputs, outputs=record.outputs, **values))
    problems += [Problem("DS2TA-142", "belongs to no op", f"{where}: {name}") for name in left]
    if len({record.name for record in records}) < len(records):
        problems.append(Problem("DS2TA-141", "two ops have the same name", where))
    if problems:
        raise InputError(problems)
    return tuple(ops)


def read(path: Path) -> Graph:
    """Read a graph file; errors as :func:`from_bytes`."""
    try:
        return from_bytes(read_regular(path), str(path))
    except OSError as error:
        raise InputError(Problem("DS2TA-140", f"cannot be read: {error.strerror}", str(path))) from error
