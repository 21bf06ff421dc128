"""Derive a certificate a second time, from the bytes of the graph file alone, and compare.

This module shares no code with the proof: of the package it imports the errors, its own rules and its own unpacking of
weights, nothing else. It reads the file with safetensors and knows each op by its name.
"""

import hashlib
import json
import struct

import numpy as np
import safetensors
import safetensors.numpy

from ds2ta_deploy.certificate_rules import Json, Row, Value, ends, follow
from ds2ta_deploy.certificate_weights import unpacked
from ds2ta_deploy.errors import InputError, Problem

_STATE_BITS = {"cpu": 32, "loihi": 24}

#: Kind of output -> how it is stored; op -> kinds of its outputs.
_STORED = {"input": "uint8", "count": "uint8", "table entry": "int16", "accumulator": "state", "current": "state", "membrane": "state"}
_KINDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Chunk", "SplitHeads", "Threshold"), ("count",)),
    **dict.fromkeys(("Conv2d", "Linear", "MatMul", "Readout", "ReduceSum", "TimeMix"), ("accumulator",)),
    **dict.fromkeys(("InputTable", "Lookup"), ("table entry",)),
    **dict.fromkeys(("Repeat", "TemporalWindow"), ("current",)),
    "Lif": ("count", "membrane"),
}

#: Ops of counts or of wider integers: what the wider ones are.
_WIDE = {
    **dict.fromkeys(("Add", "MaxPool2d", "Pixels", "Tokens"), "current"),
    **dict.fromkeys(("MergeHeads", "Mul", "Unchunk"), "accumulator"),
}

_SECTIONS = {"bounds": ("value",), "tables": ("op",), "products": ("op", "part")}


def check(graph: bytes, certificate: Json, where: str = "certificate") -> int:
    """Derive every entry of a certificate again and return how many there are.

    Args:
        graph: the graph file.
        certificate: as plain data.
        where: file that holds the certificate, for messages.

    Raises:
        InputError: DS2TA-170 with everything that differs, DS2TA-171 when the graph cannot be followed.

    """
    derived = derive(graph, where)
    parts = sorted(set(derived) - set(_SECTIONS))
    wrong = [(name, f"is {certificate[name]}, must be {derived[name]}") for name in parts if certificate[name] != derived[name]]
    for section, key in _SECTIONS.items():
        given, must = ({" ".join(entry[part] for part in key): entry for entry in side[section]} for side in (certificate, derived))
        for name in dict.fromkeys([*must, *given]):
            have, want = given.get(name, {}), must.get(name, {})
            wrong += [
                (name, f"{part} is {have.get(part)}, must be {want.get(part)}") for part in have | want if have.get(part) != want.get(part)
            ]
    if not wrong and certificate != derived:
        wrong.append(("", "an entry is repeated or out of order"))
    if wrong:
        raise InputError(Problem("DS2TA-170", f"the certificate does not hold: {what}", f"{where}: {name}") for name, what in wrong)
    return sum(len(derived[section]) for section in _SECTIONS)


def derive(graph: bytes, where: str = "graph") -> Json:
    """Return the certificate of a graph file as plain data.

    Raises:
        InputError: DS2TA-171 when the file cannot be followed, or something in it could overflow.

    """
    try:
        length = struct.unpack("<Q", graph[:8])[0]
        metadata = json.loads(graph[8 : 8 + length])["__metadata__"]
        record = json.loads(metadata["ds2ta-graph/2" if "ds2ta-graph/2" in metadata else "ds2ta-graph/3"])
        derivation = _Derivation(record, unpacked(safetensors.numpy.load(graph), record.get("packed", {})))
    except (safetensors.SafetensorError, struct.error, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise InputError(Problem("DS2TA-171", f"the graph's bounds cannot be derived again: {error}", where)) from error
    sections = {"bounds": derivation.bounds, "tables": derivation.tables, "products": derivation.products}
    return {"schema": "ds2ta-certificate/1", "graph": hashlib.sha256(graph).hexdigest(), "profile": derivation.profile, **sections}


class _Derivation:
    """Follows the ops in order; products come last, for the maps of all blocks have one form."""

    def __init__(self, record: Json, tensors: Json) -> None:
        self.profile, self.values, self.tensors = record["facts"].get("profile", "cpu"), dict[str, Value](), tensors
        self.bounds, self.tables, self.products = list[Json](), list[Json](), list[Json]()
        self.stored = dict[str, str]()
        self.makers = {name: op for op in record["ops"] for name in op["outputs"]}
        self.keep(record["input_name"], "input", Value(record["input_shape"], ends(0), ends(255)))
        for op in record["ops"]:
            array = {
                name: tensors[f"{op['name']}/{name}"]
                for name in ("weight", "bias", "threshold", "table", "matrix")
                if f"{op['name']}/{name}" in tensors
            }
            inputs = [self.values[name] for name in op["inputs"]]
            if "table" in array:
                self.index(op, inputs[0], array["table"].shape[1])
            made = follow(op, inputs, array)
            for name, kind, value in zip(op["outputs"], self.kinds(op), made, strict=True):
                self.keep(name, kind, value)
        maps = [self.values[op["outputs"][0]].hull for op in record["ops"] if op["op"] == "Lookup"]
        for op in record["ops"]:
            if op["op"] in ("Linear", "Conv2d", "Readout", "MatMul"):
                self.multiply(op, narrow_maps=all(low >= 0 and high <= 255 for low, high in maps))

    def kinds(self, op: Json) -> tuple[str, ...]:
        """Say what an op's outputs are."""
        if op["op"] not in _WIDE:
            return _KINDS[op["op"]]
        return ("count" if self.stored[op["inputs"][0]] == "uint8" else _WIDE[op["op"]],)

    def keep(self, name: str, kind: str, value: Value) -> None:
        """Note a value and its bound."""
        (low, high), bits = value.hull, 1
        while not -(2 ** (bits - 1)) <= low <= high < 2 ** (bits - 1):
            bits += 1
        self.stored[name] = _STORED[kind]
        available = {"uint8": 9, "int16": 16, "state": _STATE_BITS[self.profile]}[self.stored[name]]
        if bits > available or (self.stored[name] == "uint8" and not 0 <= low <= high <= 255):
            raise OverflowError(f"{name} can reach [{low}, {high}]")
        self.values[name] = value
        self.bounds.append(
            {"value": name, "kind": kind, "low": low, "high": high, "bits": bits, "available": available, "margin": available - bits}
        )

    def index(self, op: Json, index: Value, entries: int) -> None:
        """Note why no index leaves a table."""
        (low, high), (name,), terms = index.hull, op["inputs"], 0
        if not 0 <= low <= high < entries:
            raise IndexError(f"{op['name']}: an index can reach [{low}, {high}], the table holds 0..{entries - 1}")
        largest, maker = high, self.makers.get(name, {"op": "input"})
        if maker["op"] == "MatMul":
            left, right = (self.values[source] for source in maker["inputs"])
            terms, largest = left.shape[-2 if maker["attributes"]["transpose_left"] else -1], left.hull[1] * right.hull[1]
        sizes = {"low": low, "high": high, "entries": entries, "margin": entries - 1 - high, "terms": terms, "largest": largest}
        self.tables.append({"op": op["name"], "index": name, **sizes})

    def multiply(self, op: Json, *, narrow_maps: bool) -> None:
        """Note the uint8 x int8 products of one op: ``(unsigned, signed)`` of each part."""
        left, stored = self.values[op["inputs"][0]].hull, self.stored[op["inputs"][0]]
        if op["op"] == "MatMul":
            right = self.values[op["inputs"][1]].hull
            if stored != "int16":
                parts = _fewest(left, right)
            elif narrow_maps:
                parts = {"whole": (left, right)}
            else:
                parts = {"upper": (((left[0] >> 8) + 128, (left[1] >> 8) + 128), right), "lower": ((0, 255), right)}
        else:
            weight = self.tensors[f"{op['name']}/weight"]
            right = int(weight.min()), int(weight.max())
            left = (min(left[0], 0), max(left[1], 0)) if op["op"] == "Conv2d" else left
            wide = stored != "uint8", stored != "uint8" or weight.dtype != np.int8
            parts = _parts(left, right, 1 + wide[0], 1 + wide[1])
        for part, (unsigned, signed) in parts.items():
            pair = _pair(unsigned, signed)
            sides = {"unsigned": list(unsigned), "signed": list(signed)}
            self.products.append({"op": op["name"], "part": part, **sides, "pair": pair, "limit": 32767, "margin": 32767 - pair})


def _pair(unsigned: Row, signed: Row) -> int:
    """Return the bound of two products, added up."""
    return 2 * unsigned[1] * max(abs(signed[0]), abs(signed[1]))


def _fewest(left: Row, right: Row) -> dict[str, tuple[Row, Row]]:
    """Cut two activations into the fewest products that 8 bits hold and 16-bit pairs do not saturate, the left side least."""
    for count in range(1, 26):
        for planes in (number for number in range(1, 6) if count % number == 0 and count // number <= 5):
            parts = _parts(left, right, planes, count // planes)
            if all(0 <= a[0] <= a[1] <= 255 and -128 <= b[0] <= b[1] <= 127 and _pair(a, b) <= 32767 for a, b in parts.values()):
                return parts
    raise OverflowError(f"{left} times {right} has no planes")


def _parts(left: Row, right: Row, left_planes: int, right_planes: int) -> dict[str, tuple[Row, Row]]:
    """Return the products of all planes; planes have 7 bits, the topmost unsigned one has 64 added."""
    sides = _planes(left, left_planes, 64), _planes(right, right_planes, 0)
    if left_planes == right_planes == 1:
        return {"whole": (left, right)}
    return {f"{one} x {other}": (sides[0][one], sides[1][other]) for one in sides[0] for other in sides[1]}


def _planes(row: Row, count: int, zero: int) -> dict[str, Row]:
    if count == 1:
        return {"whole": row}
    shift, names = 7 * (count - 1), {2: ["upper", "lower"]}.get(count, [f"plane {count - 1 - index}" for index in range(count)])
    top = (row[0] >> shift) + zero, (row[1] >> shift) + zero
    return {name: (0, 127) if index else top for index, name in enumerate(names)}
