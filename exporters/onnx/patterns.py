"""Recognise a population's parts by type and wiring, so that a body is never written for ops it does not fit."""

from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.populations import Population

#: Three splits, two products, table, merge, window, neuron.
_ATTENTION_OPS = 9

Kind = TypeVar("Kind", bound=ops.Op)


@dataclass(frozen=True, eq=False)
class Weighted:
    """Weights, window or bias, repetition of a still picture if any, neuron: each reads the one before."""

    synapse: ops.Linear | ops.Conv2d
    window: ops.TemporalWindow
    repeats: bool
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


def weighted(population: Population) -> Weighted:
    """Return the parts of a linear or convolution population.

    Raises:
        UnsupportedError: DS2TA-230 when it is something else.

    """
    parts = population.ops
    chained = all(later.inputs == earlier.outputs[:1] for earlier, later in pairwise(parts))
    match parts:
        case (ops.Linear() | ops.Conv2d() as synapse, ops.TemporalWindow() as window, ops.Lif() as neuron) if chained:
            return Weighted(synapse, window, repeats=False, neuron=neuron)
        case (ops.Linear() | ops.Conv2d() as synapse, ops.TemporalWindow() as window, ops.Repeat(), ops.Lif() as neuron) if chained:
            return Weighted(synapse, window, repeats=True, neuron=neuron)
        case _:
            raise unsupported(population)


def attention(population: Population) -> Attention:
    """Return the parts of an attention population.

    Raises:
        UnsupportedError: DS2TA-230 when it is something else.

    """
    maker = {name: op for op in population.ops for name in op.outputs}

    def made_by(name: str, kind: type[Kind]) -> Kind:
        op = maker.get(name)
        if not isinstance(op, kind):
            raise unsupported(population)
        return op

    neuron = population.ops[-1]
    if not isinstance(neuron, ops.Lif):
        raise unsupported(population)
    window = made_by(neuron.inputs[0], ops.TemporalWindow)
    mixing = made_by(made_by(window.inputs[0], ops.MergeHeads).inputs[0], ops.MatMul)
    lookup = made_by(mixing.inputs[0], ops.Lookup)
    scoring = made_by(lookup.inputs[0], ops.MatMul)
    query, key, value = (made_by(name, ops.SplitHeads) for name in (*scoring.inputs, mixing.inputs[1]))
    plain = window.taps == 1 and not window.bias.any() and (scoring.transpose_right, mixing.transpose_right) == (1, 0)
    if not plain or len(population.ops) != _ATTENTION_OPS or len({query.heads, key.heads, value.heads}) != 1:
        raise unsupported(population)
    return Attention((query.inputs[0], key.inputs[0], value.inputs[0]), scoring, mixing, lookup, window, query.heads, neuron)


def unsupported(population: Population) -> UnsupportedError:
    """Say that there is no ONNX form for these ops."""
    kinds = ", ".join(type(op).__name__ for op in population.ops)
    return UnsupportedError(Problem("DS2TA-230", f"there is no ONNX form for the population of {kinds}", population.name))
