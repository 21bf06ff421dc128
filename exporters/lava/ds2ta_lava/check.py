"""Whether ``graph.json`` and ``tensors.npz`` describe a network: nothing in them is trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .timing import problems_in_time

Tensors = Mapping[str, NDArray[Any]]

#: Storage types of values, and what each holds.
DTYPES = {"uint8": (0, 255), "int16": (-(2**15), 2**15 - 1), "int32": (-(2**31), 2**31 - 1)}

#: Most time steps, and most integers that a value has in one of them.
MOST_STEPS, MOST_INTEGERS = 1024, 2**26

KINDS = ("Encoder", "SpikingConv2d", "SpikingLinear", "SpikingAttention", "SpikingNeuron", "Synapses", "Elementwise", "Readout")


@dataclass(frozen=True)
class OpShape:
    """What an op of ``graph.json`` consists of.

    Attributes:
        inputs: how many values it reads.
        outputs: how many it makes.
        integers: name -> smallest and largest.
        tensors: name -> number of axes.

    """

    inputs: int = 1
    outputs: int = 1
    integers: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    tensors: Mapping[str, int] = field(default_factory=dict)


OPS: dict[str, OpShape] = {
    "Add": OpShape(inputs=2),
    "Chunk": OpShape(integers={"steps": (1, MOST_STEPS)}),
    "Conv2d": OpShape(integers={"dilation": (1, 64)}, tensors={"weight": 4}),
    "InputTable": OpShape(integers={"still": (0, 1)}, tensors={"table": 2}),
    "Lif": OpShape(outputs=2, integers={"leak_numerator": (0, 2**16), "leak_shift": (0, 16)}, tensors={"threshold": 1}),
    "Linear": OpShape(tensors={"weight": 2}),
    "Lookup": OpShape(tensors={"table": 2}),
    "MatMul": OpShape(inputs=2, integers={"transpose_right": (0, 1), "transpose_left": (0, 1)}),
    "MaxPool2d": OpShape(integers={"stride": (1, 2), "axis": (2, 3)}),
    "MergeHeads": OpShape(),
    "Mul": OpShape(inputs=2),
    "Pixels": OpShape(integers={"height": (1, 4096)}),
    "Readout": OpShape(tensors={"weight": 2, "bias": 1}),
    "ReduceSum": OpShape(integers={"axis": (2, 4)}),
    "Repeat": OpShape(integers={"time_steps": (1, MOST_STEPS)}),
    "SplitHeads": OpShape(integers={"heads": (1, 4096)}),
    "TemporalWindow": OpShape(integers={"taps": (1, 64), "decay": (0, 8), "guard_bits": (0, 24)}, tensors={"bias": 1}),
    "Threshold": OpShape(tensors={"threshold": 1}),
    "TimeMix": OpShape(tensors={"matrix": 2}),
    "Tokens": OpShape(),
    "Unchunk": OpShape(integers={"steps": (1, MOST_STEPS)}),
}


def problems_of(data: Any, tensors: Tensors) -> Iterator[str]:
    """Yield everything that is wrong, in words; when the first level is wrong, nothing further is looked at."""
    wrong = [*_head(data)]
    yield from wrong
    if wrong:
        return
    for name, array in tensors.items():
        if array.dtype.kind not in "iu" or array.size == 0:
            yield f"tensor {name!r} is {array.dtype} {array.shape}; only integers are allowed"
    yield from _values(data)
    known = {data["input"]["name"]}
    for process in data["processes"]:
        found = [*_process(process, data, tensors, known)]
        yield from found
        if found:
            return
        known.add(process["output"])
    wanted = [data["output"]["name"], *data["populations"]]
    yield from (f"no process makes {name!r}" for name in wanted if name not in data["values"] or not _made(data, name))
    if data["values"].get(data["output"]["name"], {}).get("steps") != 0:
        yield f"the output {data['output']['name']!r} is no value of a whole sample"


def _head(data: Any) -> Iterator[str]:
    if not isinstance(data, dict):
        yield "graph.json is no object"
        return
    for name, kind in (("name", str), ("input", dict), ("output", dict), ("populations", list), ("processes", list), ("values", dict)):
        if not isinstance(data.get(name), kind):
            yield f"{name!r} is missing or of another type"
    if not _whole(data.get("time_steps"), 1, MOST_STEPS):
        yield f"'time_steps' is no number from 1 to {MOST_STEPS}"
    if not _whole(data.get("state_bits"), 2, 32):
        yield "'state_bits' is no number from 2 to 32"
    if isinstance(data.get("populations"), list) and not _names(data["populations"]):
        yield "'populations' does not hold names"
    for name in ("input", "output"):
        part = data.get(name)
        if isinstance(part, dict) and not isinstance(part.get("name"), str):
            yield f"{name!r} has no name"
    head = data.get("input")
    if isinstance(head, dict) and not (_shape(head.get("shape")) and isinstance(head.get("still"), bool)):
        yield "'input' has no shape, or does not say whether it is still"


def _values(data: dict[str, Any]) -> Iterator[str]:
    for name, value in data["values"].items():
        fits = isinstance(value, dict) and _shape(value.get("shape")) and value.get("dtype") in tuple(DTYPES)
        if not fits or not _whole(value.get("steps"), 0, MOST_STEPS) or (value["steps"] and data["time_steps"] % value["steps"]):
            yield f"value {name!r} has no shape, dtype and steps that can be"


def _process(process: Any, data: dict[str, Any], tensors: Tensors, known: set[str]) -> Iterator[str]:
    """What is wrong with one process, given the values that are sent before it."""
    if not isinstance(process, dict) or not isinstance(process.get("steps"), list):
        yield "a process is no object with steps"
        return
    name = process.get("name")
    texts = all(isinstance(process.get(key), str) for key in ("name", "kind", "block", "output"))
    if not texts or not _names(process.get("inputs")) or process["kind"] not in KINDS:
        yield f"process {name!r} has no name, kind, block, inputs and output that can be"
        return
    if process.get("lowering", "custom") not in ("custom", "stock"):
        yield f"process {name!r} has a lowering that is neither custom nor stock"
    if not _whole(process.get("delay"), 0, MOST_STEPS):
        yield f"process {name!r} has a delay that is no number from 0 to {MOST_STEPS}"
    missing = [value for value in process["inputs"] if value not in known]
    if missing:
        yield f"process {name!r} receives {missing[0]!r}, which nothing before it sends"
    inside = set(process["inputs"])
    for step in process["steps"]:
        found = [*_step(step, tensors, inside, data["values"])]
        yield from (f"process {name!r}: {problem}" for problem in found)
        if found:
            return
        inside.update(step["outputs"])
    if process["output"] not in inside - set(process["inputs"]):
        yield f"process {name!r} sends {process['output']!r}, which it does not make"
    else:
        yield from (f"process {name!r}: {problem}" for problem in problems_in_time(process, data))


def _step(step: Any, tensors: Tensors, inside: set[str], values: dict[str, Any]) -> Iterator[str]:
    op = step.get("op") if isinstance(step, dict) else None
    shape = OPS.get(op) if isinstance(op, str) else None
    if shape is None:
        yield "a step has no op that is known"
        return
    if (
        not _names(step.get("inputs"), shape.inputs)
        or not _names(step.get("outputs"), shape.outputs)
        or not isinstance(step.get("once"), bool)
    ):
        yield f"{op} does not have {shape.inputs} inputs, {shape.outputs} outputs and 'once'"
        return
    integers, held = step.get("integers"), step.get("tensors")
    if not isinstance(integers, dict) or integers.keys() != shape.integers.keys():
        yield f"{op} does not have the integers {', '.join(shape.integers) or 'none'}"
    elif not all(_whole(integers[name], *limits) for name, limits in shape.integers.items()):
        yield f"{op} has integers out of range"
    if not isinstance(held, dict) or held.keys() != shape.tensors.keys() or not _names(list(held.values())):
        yield f"{op} does not have the tensors {', '.join(shape.tensors) or 'none'}"
    elif not all(name in tensors and tensors[name].ndim == shape.tensors[part] for part, name in held.items()):
        yield f"{op} has a tensor that is missing or has another number of axes"
    yield from (f"{op} reads {name!r}, which is not there yet" for name in step["inputs"] if name not in inside)
    yield from (
        f"{op} makes {name!r}, which is made already or is no value" for name in step["outputs"] if name in inside or name not in values
    )


def _made(data: dict[str, Any], name: str) -> bool:
    return any(name in step["outputs"] for process in data["processes"] for step in process["steps"])


def _whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _names(value: Any, count: int | None = None) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value) and count in (None, len(value))


def _shape(value: Any) -> bool:
    sizes = isinstance(value, list) and 0 < len(value) <= 5 and all(_whole(size, 1, MOST_INTEGERS) for size in value)
    return sizes and prod(value) <= MOST_INTEGERS


def check_value(value: NDArray[np.int64], name: str, shape: tuple[int, ...], dtype: str) -> str | None:
    """Say what is wrong with a computed value, given what ``graph.json`` says of it; a batch may stand in front."""
    if value.shape[value.ndim - len(shape) :] != shape or value.ndim - len(shape) not in (0, 1):
        return f"{name} has shape {value.shape}, graph.json says {shape}"
    low, high = DTYPES[dtype]
    if dtype != "int32" and value.size and (int(value.min()) < low or int(value.max()) > high):
        return f"{name} holds [{value.min()}, {value.max()}], which {dtype} cannot store"
    return None
