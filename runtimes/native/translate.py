"""Graph to operations of the native library: which of its kinds each population is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import Op
from ds2ta_deploy.graph.populations import Population, group
from ds2ta_deploy.runtimes.native import library

#: Ops whose output a window or neuron reads.
_LAST = (ops.Linear, ops.Conv2d, ops.MergeHeads)


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

    def memory_of(self, name: str) -> str:
        """Return the name of the value whose memory holds the named one."""
        while name in self.alias:
            name = self.alias[name]
        return name


def translate(graph: Graph) -> Translation:
    """Turn every population into one operation.

    Raises:
        UnsupportedError: DS2TA-243 for each population that is none of the library's kinds.

    """
    tables = {op.outputs[0]: op for op in graph if isinstance(op, ops.InputTable) and op.inputs[0] == graph.input_name}
    translation = Translation([], {})
    problems = []
    for population in group(graph):
        first = population.ops[0]
        if first.outputs[0] in tables:
            continue  # part of the first layer
        if isinstance(first, ops.Tokens):
            translation.alias[first.outputs[0]] = first.inputs[0]
            continue
        step = _single(graph, population) or _population(graph, population, tables)
        if step is None:
            kinds = ", ".join(type(op).__name__ for op in population.ops)
            problems.append(Problem("DS2TA-243", f"the native library has no kind of operation for {kinds}", population.name))
        else:
            translation.steps.append(step)
    problems = problems or _unfit(graph, translation)
    if problems:
        raise UnsupportedError(problems)
    return translation


def _unfit(graph: Graph, translation: Translation) -> list[Problem]:
    """Name what the library would not see: inputs that no operation makes, other time steps, values that it cannot tell."""
    made = {step.output for step in translation.steps if step.output}
    told = {*made, *translation.alias, graph.output}.union(*(step.inner.values() for step in translation.steps))
    steps = max((graph.types[name].shape[0] or 1 for name in made), default=1)
    problems = []
    for step in translation.steps:
        unmade = [name for name in map(translation.memory_of, step.inputs) if name not in made]
        problems += [
            Problem("DS2TA-243", f"the native library cannot read {name!r} without a neuron before it", step.name) for name in unmade
        ]
        if step.output and graph.types[step.output].shape[0] != steps:
            problems.append(Problem("DS2TA-243", f"the native library runs every neuron for the same {steps} time steps", step.name))
    problems += [Problem("DS2TA-243", "the native library cannot tell this value", name) for name in graph.observable if name not in told]
    return problems


def _single(graph: Graph, population: Population) -> Step | None:
    op = population.ops[0]
    if len(population.ops) != 1:
        return None
    if isinstance(op, ops.MaxPool2d):
        return Step(library.POOL, op.name, op.inputs, op.outputs[0])
    if isinstance(op, ops.Add):
        return Step(library.ADD, op.name, op.inputs, op.outputs[0])
    if isinstance(op, ops.Readout) and op.outputs[0] == graph.output:
        channels = {"in_channels": op.weight.shape[1], "out_channels": op.weight.shape[0], "size": 1}
        return Step(library.READOUT, op.name, op.inputs, "", channels, {"weight": op.weight, "bias": op.bias})
    return None


def _population(graph: Graph, population: Population, tables: dict[str, ops.InputTable]) -> Step | None:
    """Match weights, window and neuron, or the ops of attention."""
    split: list[Op] = [op for op in population.ops if isinstance(op, ops.SplitHeads)]
    parts = [op for op in population.ops if op not in split]
    length = next((index for index, op in enumerate(parts) if isinstance(op, _LAST)), 0) + 1
    parts, rest = parts[:length], parts[length:]
    if len(parts) == 1 and isinstance(parts[0], ops.Linear | ops.Conv2d):
        step = _weighted(graph, population, parts[0], tables)
    elif [type(op) for op in parts] == [ops.MatMul, ops.Lookup, ops.MatMul, ops.MergeHeads]:
        step = _attention(population, split, parts)
    else:
        return None
    if step is None or not _follow(parts[-1], rest, repeats=step.integers.get("still", 0) == 1):
        return None
    _add_neuron(graph, rest, step)
    return step


def _follow(last: Op, rest: Sequence[Op], *, repeats: bool) -> bool:
    """Whether the rest is a window, a still picture's repetition and a neuron, each reading the op before; the first two may miss."""
    kinds: list[type[Op]] = [type(op) for op in rest]
    allowed: list[list[type[Op]]] = [[ops.Lif], [ops.TemporalWindow, ops.Lif]]
    if repeats:
        allowed += [[ops.Repeat, ops.Lif], [ops.TemporalWindow, ops.Repeat, ops.Lif]]
    return kinds in allowed and all(after.inputs == (before.outputs[0],) for before, after in pairwise([last, *rest]))


def _weighted(graph: Graph, population: Population, op: ops.Linear | ops.Conv2d, tables: dict[str, ops.InputTable]) -> Step | None:
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


def _attention(population: Population, split: list[Op], parts: list[Op]) -> Step | None:
    product, lookup, mixed, merge = parts
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


def _add_neuron(graph: Graph, rest: Sequence[Op], step: Step) -> None:
    """Add window, leak, bias and threshold; without a window there is no bias and one tap."""
    neuron, window = rest[-1], next((op for op in rest if isinstance(op, ops.TemporalWindow)), None)
    assert isinstance(neuron, ops.Lif)  # noqa: S101 - the caller matched it
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
