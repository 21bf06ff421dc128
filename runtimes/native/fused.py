"""Whole populations that one operation of the native library computes: weights, window and neuron; attention; readout."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import Op
from ds2ta_deploy.graph.populations import Population
from ds2ta_deploy.graph.stepping import BlockGraph
from ds2ta_deploy.runtimes.native import library
from ds2ta_deploy.runtimes.native.layout import Layout
from ds2ta_deploy.runtimes.native.steps import Step

#: Ops whose output a window or neuron reads.
_LAST = (ops.Linear, ops.Conv2d, ops.MergeHeads)

Layouts = dict[str, Layout]


def readout(graph: Graph, op: Op) -> list[Step] | None:
    """Return the operation that makes the network's output, of a block what it adds to their sum; None for any other op."""
    if not isinstance(op, ops.Readout) or op.outputs[0] != graph.output:
        return None
    integers = {"in_channels": op.weight.shape[1], "out_channels": op.weight.shape[0], "size": 1}
    bias = np.zeros_like(op.bias) if isinstance(graph, BlockGraph) else op.bias
    return [Step(library.READOUT, op.name, op.inputs, "", integers, {"weight": op.weight, "bias": bias})]


def encoder(op: ops.Linear | ops.Conv2d, table: ops.InputTable, window: ops.TemporalWindow | None, layouts: Layouts) -> list[Step] | None:
    """Return the operation of a first layer that no neuron follows at once; None where the library has none."""
    if not isinstance(op, ops.Conv2d):
        return None
    step = _first(op, table, (window or op).name, layouts)
    step.output, step.inputs = (window or op).outputs[0], ("", "", "")
    step.integers["shift"] = 0
    step.arrays["bias"] = window.bias if window else np.zeros(op.weight.shape[0], np.int32)
    if not window:
        del step.inner["product"]
    return [step]


def population_step(population: Population, tables: dict[str, ops.InputTable], layouts: Layouts) -> Step | None:
    """Match weights, window and neuron, or the ops of attention; None for what is to be taken apart."""
    split: list[Op] = [op for op in population.ops if isinstance(op, ops.SplitHeads)]
    parts = [op for op in population.ops if op not in split]
    length = next((index for index, op in enumerate(parts) if isinstance(op, _LAST)), 0) + 1
    parts, rest = parts[:length], parts[length:]
    if len(parts) == 1 and isinstance(parts[0], ops.Linear | ops.Conv2d):
        step = _weighted(population, parts[0], tables, layouts)
    elif [type(op) for op in parts] == [ops.MatMul, ops.Lookup, ops.MatMul, ops.MergeHeads]:
        step = _attention(population, split, parts, layouts)
    else:
        return None
    if step is None or not _follow(parts[-1], rest, repeats=step.integers.get("still", 0) == 1):
        return None
    _add_neuron(layouts, rest, step)
    return step


def _follow(last: Op, rest: Sequence[Op], *, repeats: bool) -> bool:
    """Whether the rest is a window, a still picture's repetition and a neuron, each reading the op before; the first two may miss."""
    kinds: list[type[Op]] = [type(op) for op in rest]
    allowed: list[list[type[Op]]] = [[ops.Lif], [ops.TemporalWindow, ops.Lif]]
    if repeats:
        allowed += [[ops.Repeat, ops.Lif], [ops.TemporalWindow, ops.Repeat, ops.Lif]]
    return kinds in allowed and all(after.inputs == (before.outputs[0],) for before, after in pairwise([last, *rest]))


def _first(op: ops.Conv2d, table: ops.InputTable, name: str, layouts: Layouts) -> Step:
    integers = {
        "in_channels": op.weight.shape[-1],
        "out_channels": op.weight.shape[0],
        "size": op.weight.shape[1],
        "dilation": op.dilation,
        "still": int(layouts[op.outputs[0]].still),
    }
    arrays = {"wide": op.weight.astype(np.int16), "table": table.table.astype(np.int16)}
    return Step(library.ENCODE, name, (), "", integers, arrays, {"product": op.outputs[0], "tabled": table.outputs[0]})


def _weighted(population: Population, op: ops.Linear | ops.Conv2d, tables: dict[str, ops.InputTable], layouts: Layouts) -> Step | None:
    table = tables.get(op.inputs[0])
    if table is not None:
        return _first(op, table, population.name, layouts) if isinstance(op, ops.Conv2d) else None
    if op.weight.dtype != np.int8 or op.inputs[0] not in layouts or not layouts[op.inputs[0]].planes:
        return None
    integers = {"in_channels": op.weight.shape[-1], "out_channels": op.weight.shape[0], "size": 1}
    kind = library.LINEAR
    if isinstance(op, ops.Conv2d):
        kind, integers = library.CONV, integers | {"size": op.weight.shape[1], "dilation": op.dilation}
    return Step(kind, population.name, op.inputs, "", integers, {"weight": op.weight}, {"product": op.outputs[0]})


def _attention(population: Population, split: list[Op], parts: list[Op], layouts: Layouts) -> Step | None:
    product, lookup, mixed, merge = parts
    chained = lookup.inputs == product.outputs and merge.inputs == mixed.outputs
    if not (isinstance(product, ops.MatMul) and isinstance(mixed, ops.MatMul) and isinstance(lookup, ops.Lookup) and chained):
        return None
    made = {op.outputs[0]: op for op in split if isinstance(op, ops.SplitHeads)}
    heads = {op.heads for op in made.values()}
    query, key, value = product.inputs[0], product.inputs[1], mixed.inputs[1]
    if (product.transpose_right, mixed.transpose_right, mixed.inputs[0]) != (1, 0, lookup.outputs[0]) or len(heads) != 1:
        return None
    if product.transpose_left or mixed.transpose_left or not {query, key, value} <= set(made):
        return None
    inputs = tuple(made[name].inputs[0] for name in (query, key, value))
    if any(name not in layouts or layouts[name].planes != 1 for name in inputs):
        return None
    channels = {"heads": heads.pop(), "entries": lookup.table.shape[1], "size": 1}
    inner = {"product": merge.outputs[0], "scores": product.outputs[0], "denoised": lookup.outputs[0]}
    return Step(library.ATTENTION, population.name, inputs, "", channels, {"table": lookup.table}, inner)


def _add_neuron(layouts: Layouts, rest: Sequence[Op], step: Step) -> None:
    """Add window, leak, bias and threshold; without a window there is no bias and one tap."""
    neuron, window = rest[-1], next((op for op in rest if isinstance(op, ops.TemporalWindow)), None)
    assert isinstance(neuron, ops.Lif)  # noqa: S101 - the caller matched it
    channels = neuron.threshold.shape[0]
    step.output = neuron.outputs[0]
    still = window is not None and layouts[window.outputs[0]].still
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
    step.remembers = (neuron,) if window is None else (window, neuron)
