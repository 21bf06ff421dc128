"""Graph to operations of the native library: which of its kinds each population is."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import Op
from ds2ta_deploy.graph.populations import Population, group
from ds2ta_deploy.runtimes.native import library

#: Op types of a population that the library's kinds consist of, in order; a window and a repetition may be left out.
_OPTIONAL = (ops.TemporalWindow, ops.Repeat)


@dataclass
class Step:
    """One operation of the plan.

    Attributes:
        kind: as numbered in ``library``.
        name: of the population.
        inputs: names of the values it reads, without the network's input.
        output: name of the value it makes; empty for the logits.
        integers: integer fields of ``library.Operation``.
        arrays: array fields.
        inner: what happens inside -> name of the value; see ``library.INNER``.

    """

    kind: int
    name: str
    inputs: tuple[str, ...]
    output: str
    integers: dict[str, int] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    inner: dict[str, str] = field(default_factory=dict)


@dataclass
class Translation:
    """A graph as the library runs it.

    Attributes:
        steps: in order.
        alias: name of a value -> name of the one whose memory it is.

    """

    steps: list[Step]
    alias: dict[str, str]


def translate(graph: Graph) -> Translation:
    """Turn every population into one operation.

    Raises:
        UnsupportedError: DS2TA-243 for each population that is none of the library's kinds.

    """
    tables = {op.outputs[0]: op for op in graph if isinstance(op, ops.InputTable)}
    translation = Translation([], {})
    problems = []
    for population in group(graph):
        first = population.ops[0]
        if isinstance(first, ops.InputTable):
            continue  # part of the first layer
        if isinstance(first, ops.Tokens):
            translation.alias[first.outputs[0]] = first.inputs[0]
            continue
        step = _single(population) or _population(graph, population, tables)
        if step is None:
            kinds = ", ".join(type(op).__name__ for op in population.ops)
            problems.append(Problem("DS2TA-243", f"the native library has no kind of operation for {kinds}", population.name))
        else:
            translation.steps.append(step)
    if problems:
        raise UnsupportedError(problems)
    return translation


def _single(population: Population) -> Step | None:
    op = population.ops[0]
    if len(population.ops) != 1:
        return None
    if isinstance(op, ops.MaxPool2d):
        return Step(library.POOL, op.name, op.inputs, op.outputs[0])
    if isinstance(op, ops.Add):
        return Step(library.ADD, op.name, op.inputs, op.outputs[0])
    if isinstance(op, ops.Readout):
        channels = {"in_channels": op.weight.shape[1], "out_channels": op.weight.shape[0], "size": 1}
        return Step(library.READOUT, op.name, op.inputs, "", channels, {"weight": op.weight, "bias": op.bias})
    return None


def _population(graph: Graph, population: Population, tables: dict[str, ops.InputTable]) -> Step | None:
    """Match weights, window and neuron, or the ops of attention."""
    parts = [op for op in population.ops if not isinstance(op, _OPTIONAL)]
    types = [type(op) for op in parts]
    if not parts or not isinstance(parts[-1], ops.Lif):
        return None
    step: Step | None = None
    if types in ([ops.Linear, ops.Lif], [ops.Conv2d, ops.Lif]):
        step = _weighted(graph, population, parts[0], tables)
    elif types == [ops.SplitHeads] * 3 + [ops.MatMul, ops.Lookup, ops.MatMul, ops.MergeHeads, ops.Lif]:
        step = _attention(population, parts)
    if step is not None:
        _add_neuron(graph, population, parts[-1], step)
    return step


def _weighted(graph: Graph, population: Population, op: Op, tables: dict[str, ops.InputTable]) -> Step | None:
    assert isinstance(op, ops.Linear | ops.Conv2d)  # noqa: S101 - the caller matched it
    table = tables.get(op.inputs[0])
    integers = {"in_channels": op.weight.shape[-1], "out_channels": op.weight.shape[0]}
    integers["size"] = op.weight.shape[1] if isinstance(op, ops.Conv2d) else 1
    inner = {"product": op.outputs[0]}
    if table is not None and isinstance(op, ops.Conv2d):
        integers["still"] = table.still
        arrays = {"wide": op.weight.astype(np.int16), "table": table.table.astype(np.int16)}
        return Step(library.ENCODE, population.name, (), "", integers, arrays, {**inner, "tabled": table.outputs[0]})
    if table is not None or op.weight.dtype != np.int8 or graph.types[op.inputs[0]].dtype != "uint8":
        return None
    kind = library.CONV if isinstance(op, ops.Conv2d) else library.LINEAR
    return Step(kind, population.name, op.inputs, "", integers, {"weight": op.weight}, inner)


def _attention(population: Population, parts: list[Op]) -> Step | None:
    split, product, lookup, mixed, merge = parts[:3], parts[3], parts[4], parts[5], parts[6]
    chained = lookup.inputs == product.outputs and merge.inputs == mixed.outputs
    if not (isinstance(product, ops.MatMul) and isinstance(mixed, ops.MatMul) and isinstance(lookup, ops.Lookup) and chained):
        return None
    made = {op.outputs[0]: op for op in split if isinstance(op, ops.SplitHeads)}
    heads = {op.heads for op in made.values()}
    query, key, value = product.inputs[0], product.inputs[1], mixed.inputs[1]
    if (product.transpose_right, mixed.transpose_right, mixed.inputs[0]) != (1, 0, lookup.outputs[0]) or len(heads) != 1:
        return None
    if not {query, key, value} <= set(made):
        return None
    inputs = tuple(made[name].inputs[0] for name in (query, key, value))
    channels = {"heads": heads.pop(), "entries": lookup.table.shape[1], "size": 1}
    inner = {"product": merge.outputs[0], "scores": product.outputs[0], "denoised": lookup.outputs[0]}
    return Step(library.ATTENTION, population.name, inputs, "", channels, {"table": lookup.table}, inner)


def _add_neuron(graph: Graph, population: Population, neuron: Op, step: Step) -> None:
    """Add window, leak, bias and threshold; without a window there is no bias and one tap."""
    assert isinstance(neuron, ops.Lif)  # noqa: S101 - the caller matched it
    window = next((op for op in population.ops if isinstance(op, ops.TemporalWindow)), None)
    channels = neuron.threshold.shape[0]
    step.output = neuron.outputs[0]
    still = window is not None and graph.types[window.outputs[0]].shape[0] == 1
    step.integers |= {
        "taps": 1 if window is None or still else window.taps,
        "decay": 0 if window is None else window.decay,
        "guard_bits": 0 if window is None else window.guard_bits,
        "leak_numerator": neuron.leak_numerator,
        "leak_shift": neuron.leak_shift,
        "out_channels": channels,
    }
    step.integers.setdefault("in_channels", channels)
    step.arrays |= {"bias": np.zeros(channels, np.int32) if window is None else window.bias, "threshold": neuron.threshold}
    step.inner["membrane"] = neuron.outputs[1]
    if window is not None:
        step.inner["current"] = window.outputs[0]
