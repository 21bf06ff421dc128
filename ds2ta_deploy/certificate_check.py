"""Derive a certificate a second time, from the bytes of the graph file alone, and compare.

This module shares no code with the proof: of the package it imports the errors and its own rules, nothing else. It
reads the file with safetensors and knows each op by its name.
"""

import hashlib
import json
import struct

import numpy as np
import safetensors
import safetensors.numpy

from ds2ta_deploy.certificate_rules import Json, Value, follow
from ds2ta_deploy.errors import InputError, Problem

_STATE_BITS = {"cpu": 32, "loihi": 24}

#: Kind of output -> how it is stored; op -> kinds of its outputs.
_STORED = {"input": "uint8", "count": "uint8", "table entry": "int16", "accumulator": "state", "current": "state", "membrane": "state"}
_KINDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Add", "MaxPool2d", "SplitHeads", "Tokens"), ("count",)),
    **dict.fromkeys(("Conv2d", "Linear", "MatMul", "MergeHeads", "Readout"), ("accumulator",)),
    **dict.fromkeys(("InputTable", "Lookup"), ("table entry",)),
    **dict.fromkeys(("Repeat", "TemporalWindow"), ("current",)),
    "Lif": ("count", "membrane"),
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
        record = json.loads(json.loads(graph[8 : 8 + length])["__metadata__"]["ds2ta-graph/2"])
        derivation = _Derivation(record, safetensors.numpy.load(graph))
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
        self.keep(record["input_name"], "input", Value(record["input_shape"], [(0, 255)]))
        for op in record["ops"]:
            array = {
                name: tensors[f"{op['name']}/{name}"]
                for name in ("weight", "bias", "threshold", "table")
                if f"{op['name']}/{name}" in tensors
            }
            inputs = [self.values[name] for name in op["inputs"]]
            if "table" in array:
                self.index(op, inputs[0], array["table"].shape[1])
            made = follow(op, inputs, array)
            for name, kind, value in zip(op["outputs"], _KINDS[op["op"]], made, strict=True):
                self.keep(name, kind, value)
        maps = [self.values[op["outputs"][0]].hull for op in record["ops"] if op["op"] == "Lookup"]
        for op in record["ops"]:
            if op["op"] in ("Linear", "Conv2d", "Readout", "MatMul"):
                self.multiply(op, narrow_maps=all(low >= 0 and high <= 255 for low, high in maps))

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
            terms, largest = left.shape[-1], left.hull[1] * right.hull[1]
        sizes = {"low": low, "high": high, "entries": entries, "margin": entries - 1 - high, "terms": terms, "largest": largest}
        self.tables.append({"op": op["name"], "index": name, **sizes})

    def multiply(self, op: Json, *, narrow_maps: bool) -> None:
        """Note the uint8 x int8 products of one op: ``(unsigned, signed)`` of each part."""
        left = self.values[op["inputs"][0]]
        low, high = left.hull
        if op["op"] == "MatMul":
            right = self.values[op["inputs"][1]].hull
            split = {"upper": (((low >> 8) + 128, (high >> 8) + 128), right), "lower": ((0, 255), right)}
            parts = {"whole": ((low, high), right)} if self.stored[op["inputs"][0]] == "uint8" or narrow_maps else split
        else:
            weight = self.tensors[f"{op['name']}/weight"]
            least, most = int(weight.min()), int(weight.max())
            low, high = (min(low, 0), max(high, 0)) if op["op"] == "Conv2d" else (low, high)
            parts = {"whole": ((low, high), (least, most))}
            if op["op"] != "Readout" and (weight.dtype != np.int8 or self.stored[op["inputs"][0]] != "uint8"):
                pixels = {"upper": ((low >> 7) + 64, (high >> 7) + 64), "lower": (0, 127)}
                weights = {"upper": (least >> 7, most >> 7), "lower": (0, 127)}
                parts = {f"{one} x {other}": (pixels[one], weights[other]) for one in pixels for other in weights}
        for part, (unsigned, signed) in parts.items():
            pair = 2 * unsigned[1] * max(abs(signed[0]), abs(signed[1]))
            ends = {"unsigned": list(unsigned), "signed": list(signed)}
            self.products.append({"op": op["name"], "part": part, **ends, "pair": pair, "limit": 32767, "margin": 32767 - pair})
