"""Group the fine-grained ops into populations, for engines that want big ops."""

from dataclasses import dataclass
from typing import Literal

from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import (
    Chunk,
    Conv2d,
    Lif,
    Linear,
    Lookup,
    MatMul,
    MergeHeads,
    Op,
    Repeat,
    SplitHeads,
    TemporalWindow,
    Unchunk,
)

PopulationKind = Literal["SpikingConv2d", "SpikingLinear", "SpikingAttention", "SpikingNeuron", "Synapses", "Single"]

#: What can belong to the neuron that it feeds.
_INNER = (Conv2d, Linear, TemporalWindow, Repeat, SplitHeads, MergeHeads, MatMul, Lookup, Chunk, Unchunk)

#: What can belong to the bias of a current that no neuron claims.
_WEIGHTS = (Conv2d, Linear)


@dataclass(frozen=True, eq=False)
class Population:
    """Ops that belong together: weights + window + neuron, or query-key-table-value-neuron.

    Attributes:
        kind: ``SpikingNeuron`` for a neuron without weights of its own, which reads a membrane stream or a sum;
            ``Synapses`` for weights and bias that feed a stream, not one neuron; ``Single`` for any other op that
            belongs to no neuron (residual sum, pooling, readout …).
        name: dotted name of the neuron's population, of the op that adds the bias, or of the single op.
        ops: in graph order.
        inputs: values read from outside.
        outputs: values that others read, or the network's output.

    """

    kind: PopulationKind
    name: str
    ops: tuple[Op, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def group(graph: Graph) -> list[Population]:
    """Return the populations in an order in which they can run.

    Requires: a well-formed graph. Ensures: every op is in exactly one population; a value that two
    populations use is an output of the one that makes it.
    """
    maker = {name: op for op in graph for name in op.outputs}
    readers: dict[str, list[Op]] = {}
    for op in graph:
        for name in op.inputs:
            readers.setdefault(name, []).append(op)
    owner: dict[str, str] = {}
    for op in graph:
        if isinstance(op, Lif):
            _claim(op, _INNER, maker, readers, owner)
    for op in graph:
        if isinstance(op, TemporalWindow) and op.name not in owner:
            _claim(op, _WEIGHTS, maker, readers, owner)
    members: dict[str, list[Op]] = {}
    for op in graph:
        members.setdefault(owner.get(op.name, op.name), []).append(op)
    position = {op.name: index for index, op in enumerate(graph)}
    ordered = sorted(members.items(), key=lambda item: position[item[1][-1].name])
    return [_population(graph, name, tuple(ops), readers) for name, ops in ordered]


def _claim(last: Op, inner: tuple[type[Op], ...], maker: dict[str, Op], readers: dict[str, list[Op]], owner: dict[str, str]) -> None:
    """Give a population its last op, and what feeds only it, as far as inner ops reach."""
    owner[last.name] = last.name
    waiting = [last]
    while waiting:  # no recursion: a stranger's graph may be deep
        for name in waiting.pop().inputs:
            source = maker.get(name)
            if not isinstance(source, inner) or source.name in owner:
                continue
            if all(owner.get(reader.name) == last.name for made in source.outputs for reader in readers.get(made, [])):
                owner[source.name] = last.name
                waiting.append(source)


def _population(graph: Graph, name: str, ops: tuple[Op, ...], readers: dict[str, list[Op]]) -> Population:
    inside = {op.name for op in ops}
    made = [value for op in ops for value in op.outputs]
    read = list(dict.fromkeys(value for op in ops for value in op.inputs if value not in made))
    outputs = [value for value in made if value == graph.output or any(reader.name not in inside for reader in readers.get(value, []))]
    return Population(kind_of(ops), name, ops, tuple(read), tuple(outputs))


def kind_of(ops: tuple[Op, ...]) -> PopulationKind:
    """Return what ops are together: what their products and their neuron make of them."""
    kinds = {type(op) for op in ops}
    if Lif not in kinds:
        return "Synapses" if TemporalWindow in kinds else "Single"
    if Lookup in kinds or MatMul in kinds:
        return "SpikingAttention"
    if Conv2d in kinds:
        return "SpikingConv2d"
    return "SpikingLinear" if Linear in kinds else "SpikingNeuron"


def population_values(graph: Graph) -> tuple[str, ...]:
    """Names of the values that pass between populations: spikes, counts, currents, logits; mere views of them left out."""
    observable = set(graph.observable)
    return tuple(value for population in group(graph) for value in population.outputs if value in observable)
