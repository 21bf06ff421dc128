"""Recognise the populations that have a fused body, by type and wiring, so that one is never written for ops it does not fit."""

from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.populations import Population

#: Three splits, two products, table, merge, window, neuron.
_ATTENTION_OPS = 9


class _OtherWiringError(Exception):
    """The population is not the one looked for."""


Kind = TypeVar("Kind", bound=ops.Op)


@dataclass(frozen=True, eq=False)
class Weighted:
    """Weights, window or bias, repetition of a still picture if any, neuron: each reads the one before."""

    synapse: ops.Linear | ops.Conv2d
    window: ops.TemporalWindow
    repeat: ops.Repeat | None
    neuron: ops.Lif


@dataclass(frozen=True, eq=False)
class Attention:
    """Query-key product, table, product with the values, neuron.

    Attributes:
        sources: names of the query, key and value spikes.
        scoring: the product of queries and keys.
        mixing: the product of map and values.
        lookup: the table.
        window: guard bits before the neuron; one tap, no bias.
        heads: number of heads.
        neuron: the attention neuron.

    """

    sources: tuple[str, str, str]
    scoring: ops.MatMul
    mixing: ops.MatMul
    lookup: ops.Lookup
    window: ops.TemporalWindow
    heads: int
    neuron: ops.Lif


def weighted(population: Population) -> Weighted | None:
    """Return the parts of a linear or convolution population, taps side by side; None when it is something else."""
    parts = population.ops
    if not all(later.inputs == earlier.outputs[:1] for earlier, later in pairwise(parts)) or not _inner_is_hidden(population):
        return None
    match parts:
        case (ops.Linear() | ops.Conv2d() as synapse, ops.TemporalWindow() as window, ops.Lif() as neuron):
            found = Weighted(synapse, window, None, neuron)
        case (ops.Linear() | ops.Conv2d() as synapse, ops.TemporalWindow() as window, ops.Repeat() as repeat, ops.Lif() as neuron):
            found = Weighted(synapse, window, repeat, neuron)
        case _:
            return None
    return None if isinstance(synapse, ops.Conv2d) and synapse.dilation > 1 else found


def attention(population: Population) -> Attention | None:
    """Return the parts of an attention with a table between its products; None when it is something else."""
    maker = {name: op for op in population.ops for name in op.outputs}

    def made_by(name: str, kind: type[Kind]) -> Kind:
        op = maker.get(name)
        if not isinstance(op, kind):
            raise _OtherWiringError(name)
        return op

    try:
        neuron = made_by(population.ops[-1].outputs[0], ops.Lif)
        window = made_by(neuron.inputs[0], ops.TemporalWindow)
        mixing = made_by(made_by(window.inputs[0], ops.MergeHeads).inputs[0], ops.MatMul)
        lookup = made_by(mixing.inputs[0], ops.Lookup)
        scoring = made_by(lookup.inputs[0], ops.MatMul)
        query, key, value = (made_by(name, ops.SplitHeads) for name in (*scoring.inputs, mixing.inputs[1]))
    except _OtherWiringError:
        return None
    plain = window.taps == 1 and not window.bias.any() and not scoring.transpose_left and not mixing.transpose_left
    turned = (scoring.transpose_right, mixing.transpose_right) == (1, 0)
    same_heads = len({query.heads, key.heads, value.heads}) == 1
    if not (plain and turned and same_heads and len(population.ops) == _ATTENTION_OPS and _inner_is_hidden(population)):
        return None
    return Attention((query.inputs[0], key.inputs[0], value.inputs[0]), scoring, mixing, lookup, window, query.heads, neuron)


def _inner_is_hidden(population: Population) -> bool:
    """Whether others read the spikes only: the outputs of a fused body have fixed names."""
    spikes = population.ops[-1].outputs[0]
    return all(name == spikes for name in population.outputs)
