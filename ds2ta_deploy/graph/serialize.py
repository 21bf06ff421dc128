"""A graph as one safetensors file: tensors, narrow weights packed, and structure as JSON in the header. No pickle."""

import dataclasses
import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import safetensors
import safetensors.numpy

from ds2ta_deploy.errors import InputError, Problem
from ds2ta_deploy.graph.formats import FORMATS, narrowest
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import OPS, Dtype, Op, ValueType
from ds2ta_deploy.reading import read_regular

#: Key of the single header entry, without packed weights and with some; one entry keeps the bytes independent of any map's order.
HEADER_KEY, PACKED_KEY = "ds2ta-graph/2", "ds2ta-graph/3"

Tensors = dict[str, np.ndarray[Any, Any]]
Structure = TypeVar("Structure", bound=msgspec.Struct)


class OpRecord(msgspec.Struct, forbid_unknown_fields=True):
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
    ops: tuple[OpRecord, ...]
    output: str
    output_scale: float
    facts: dict[str, str | int | float]


class PackedRecord(msgspec.Struct, forbid_unknown_fields=True):
    """How one tensor is packed: the name of its format (:mod:`ds2ta_deploy.graph.formats`), and its shape."""

    format: str
    shape: tuple[int, ...]


class _PackedGraphRecord(_GraphRecord):
    """The structure of a graph, some of whose tensors are packed, by the tensors' names."""

    packed: dict[str, PackedRecord]


def _own_fields(op: type[Op]) -> list[str]:
    return [field.name for field in dataclasses.fields(op) if field.name not in ("name", "inputs", "outputs")]


def to_bytes(graph: Graph) -> bytes:
    """Serialize; equal graphs give equal bytes."""
    records, tensors = pack_ops(graph)
    packed = _pack_weights(tensors)
    parts = (
        graph.name,
        graph.input_name,
        graph.input_type.shape,
        graph.input_type.dtype,
        records,
        graph.output,
        graph.output_scale,
        graph.facts,
    )
    return save(_PackedGraphRecord(*parts, packed), tensors, PACKED_KEY) if packed else save(_GraphRecord(*parts), tensors, HEADER_KEY)


def _pack_weights(tensors: Tensors) -> dict[str, PackedRecord]:
    """Put stored bytes in the place of weights that have a narrower format; return how to get them back."""
    packed = {}
    for name, array in tensors.items():
        stored = narrowest(array) if name.endswith("/weight") else None
        if stored is not None:
            packed[name] = PackedRecord(stored.name, array.shape)
            tensors[name] = stored.pack(array)
    return packed


def _unpack_weights(packed: dict[str, PackedRecord], tensors: Tensors, where: str) -> None:
    """Put the weights back in the place of their stored bytes.

    Raises:
        InputError: DS2TA-142 for what is missing, has another size than it should or is in another format than the
            narrowest; all of it.

    """
    problems = [] if packed else [Problem("DS2TA-141", "says that weights are packed, and none is", where)]
    for name, record in packed.items():
        stored, place = FORMATS.get(record.format), f"{where}: {name}"
        if name not in tensors:
            problems.append(Problem("DS2TA-142", "is not there", place))
        elif stored is None:
            problems.append(Problem("DS2TA-142", f"the format {record.format!r} is not known", place, f"known: {', '.join(FORMATS)}"))
        elif min(record.shape, default=0) < 1:
            problems.append(Problem("DS2TA-142", f"cannot have the shape {list(record.shape)}", place))
        else:
            try:
                tensors[name] = stored.unpack(tensors[name], record.shape)
            except ValueError as error:
                problems.append(Problem("DS2TA-142", f"is not stored as {record.format}: {error}", place))
            else:
                if narrowest(tensors[name]) is not stored:
                    problems.append(Problem("DS2TA-142", f"is stored as {record.format}, and fits a narrower format", place))
    if problems:
        raise InputError(problems)


def pack_ops(ops: Iterable[Op]) -> tuple[tuple[OpRecord, ...], Tensors]:
    """Take the ops apart into records and tensors ``<name>/<field>``."""
    tensors: Tensors = {}
    records = []
    for op in ops:
        values = {name: getattr(op, name) for name in _own_fields(type(op))}
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        tensors.update({f"{op.name}/{name}": np.ascontiguousarray(array) for name, array in arrays.items()})
        attributes = {name: int(value) for name, value in values.items() if name not in arrays}
        records.append(OpRecord(type(op).__name__, op.name, op.inputs, op.outputs, attributes))
    return tuple(records), tensors


def save(structure: msgspec.Struct, tensors: Tensors, key: str) -> bytes:
    """Return one safetensors file with the structure as JSON under ``key`` of its header."""
    header = msgspec.json.encode(structure, order="sorted").decode()
    return safetensors.numpy.save(dict(sorted(tensors.items())), {key: header})


def load(data: bytes, kinds: Mapping[str, type[Structure]], where: str) -> tuple[Structure, Tensors]:
    """Read back what :func:`save` wrote under one of the keys; ``kinds`` says what structure each stands for.

    Raises:
        InputError: DS2TA-140 when the bytes are no such file, DS2TA-141 when its structure is wrong.

    """
    try:
        tensors = safetensors.numpy.load(data)
        length = struct.unpack("<Q", data[:8])[0]
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
        key, header = next(((key, metadata[key]) for key in kinds if key in metadata), (None, None))
    except (safetensors.SafetensorError, ValueError, struct.error, AttributeError, KeyError) as error:
        raise InputError(Problem("DS2TA-140", f"is no such file: {error}", where)) from error
    if key is None or header is None:
        raise InputError(Problem("DS2TA-140", f"has no {' or '.join(map(repr, kinds))} in its header", where))
    try:
        return msgspec.json.decode(header, type=kinds[key]), tensors
    except msgspec.MsgspecError as error:
        raise InputError(Problem("DS2TA-141", str(error), where)) from error


def from_bytes(data: bytes, where: str = "graph") -> Graph:
    """Read a graph back and check its wiring.

    Raises:
        InputError: DS2TA-140 when the bytes are no graph file, DS2TA-141 when its structure is wrong, DS2TA-142
            when tensors are missing, unexpected or of the wrong kind (all of them).
        UnsupportedError: DS2TA-210 or 211 when the ops do not fit together.

    """
    kinds: dict[str, type[_GraphRecord]] = {HEADER_KEY: _GraphRecord, PACKED_KEY: _PackedGraphRecord}
    record, tensors = load(data, kinds, where)
    if isinstance(record, _PackedGraphRecord):
        _unpack_weights(record.packed, tensors, where)
    ops = build_ops(record.ops, tensors, where)
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


def build_ops(records: tuple[OpRecord, ...], tensors: Tensors, where: str) -> tuple[Op, ...]:
    """Put the ops together again.

    Raises:
        InputError: DS2TA-141 for unknown or doubled ops, DS2TA-142 for tensors that are missing, unexpected or of the
            wrong kind; all of them.

    """
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
