"""Which populations Lava's own processes express, exactly, and why the others stay processes of ours."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Literal

import numpy as np

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.exporters.lava.ds2ta_lava import stock
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.intervals import Interval, bits_needed
from ds2ta_deploy.graph.ops import InputTable, Lif, Linear, TemporalWindow
from ds2ta_deploy.graph.populations import Population, group

#: ``custom``: every process is ours. ``stock``: Lava's own Sparse and LIFReset wherever they compute the same integers.
LoweringKind = Literal["custom", "stock"]

#: Most synapses of one stock population; Lava keeps several copies of each in memory.
MAX_SYNAPSES = 2**24


@dataclass(frozen=True)
class Lowering:
    """How each population is expressed.

    Attributes:
        stock: names of the populations that run on Lava's own processes.
        why_not: name of every other spiking population -> the reason; empty when none was asked to.

    """

    stock: tuple[str, ...] = ()
    why_not: dict[str, str] = field(default_factory=dict)


def plan(graph: Graph, kind: LoweringKind) -> Lowering:
    """Decide for every spiking population.

    Raises:
        UnsupportedError: DS2TA-242 with the reason of every population when stock processes express none of them.

    Example:
        >>> plan(graph, "stock").stock  # doctest: +SKIP
        ('blocks.0.mlp.fc1', 'blocks.0.mlp.fc2')

    """
    if kind == "custom":
        return Lowering()
    spiking = [population for population in group(graph) if population.kind != "Single"]
    reasons = {population.name: "; ".join(_reasons(graph, population)) for population in spiking}
    lowered = tuple(name for name, reason in reasons.items() if not reason)
    if not lowered:
        what = "does not run on Lava's own processes"
        found = [Problem("DS2TA-242", f"{what}: {reason}", name) for name, reason in reasons.items()]
        raise UnsupportedError(found or Problem("DS2TA-242", f"{what}: it has no population that spikes", graph.name))
    return Lowering(lowered, {name: reason for name, reason in reasons.items() if reason})


def time_steps(graph: Graph) -> int:
    """T: the most time steps that a value of the graph has; what a still picture gives once has one."""
    return max(kind.shape[0] or 1 for name, kind in graph.types.items() if name not in (graph.input_name, graph.output))


def _reasons(graph: Graph, population: Population) -> Iterator[str]:
    """Say everything that keeps a population from running on ``Sparse`` and ``LIFReset``."""
    if any(isinstance(op, InputTable) for op in graph if set(op.outputs) & set(population.inputs)):
        yield "it reads the table of pixels and is part of the encoder, outside the cores"
    elif population.kind == "SpikingConv2d":
        yield "a convolution; stock synapses share no weights, and it would need a copy of all of them for every pixel"
    elif population.kind == "SpikingAttention":
        yield "it multiplies two activations, and stock synapses hold weights"
    elif population.kind == "SpikingNeuron":
        yield "a neuron without weights; a stock neuron needs the guard bits that stock synapses bring along"
    elif population.kind == "Synapses":
        yield "weights that add into a stream of currents, and stock synapses feed a neuron, one step late"
    else:
        match population.ops:
            case (Linear() as weights, TemporalWindow() as window, Lif() as neuron) if population.outputs == neuron.outputs[
                :1
            ] and graph.types[neuron.outputs[0]].shape[0] == time_steps(graph):
                yield from _linear_reasons(graph, weights, window, neuron)
            case _:
                yield "it is not weights, bias and neuron in every time step, of which others read the spikes alone"


def _linear_reasons(graph: Graph, weights: Linear, window: TemporalWindow, neuron: Lif) -> Iterator[str]:
    steps, tokens = time_steps(graph), graph.types[neuron.outputs[0]].shape[2] or 1
    guard = stock.guard_bits(steps)
    if window.taps > 1 or window.guard_bits:
        yield f"it has a temporal window (taps {window.taps}, guard bits {window.guard_bits}), which a stock neuron does not keep"
        return  # its numbers are in the window's unit: whether they would fit says nothing
    if 2 * neuron.leak_numerator != 1 << neuron.leak_shift:
        yield f"its leak is {neuron.leak_numerator} / 2^{neuron.leak_shift}, and only 1/2 is exact there"
    different = len(np.unique(neuron.threshold))
    if different > 1:
        yield f"its channels have {different} thresholds and a stock neuron has one (--thresholds layer gives it one)"
    if graph.types[weights.inputs[0]].dtype != "uint8" or bits_needed(int(weights.weight.min()), int(weights.weight.max())) > 8:
        yield "stock synapses take counts of 8 bits and weights of 8 bits"
    synapses = tokens * prod(weights.weight.shape)
    if synapses > MAX_SYNAPSES:
        yield f"with a copy of the weights for each of {tokens} tokens it has {synapses:,} synapses, more than {MAX_SYNAPSES:,}"
    threshold = int(neuron.threshold.max())
    bounds = {
        "product": graph.ranges[weights.outputs[0]],
        "membrane": graph.ranges[neuron.outputs[1]],
        "threshold": Interval.of(threshold, threshold),
    }
    for what, bound in bounds.items():
        if max(-bound.minimum, bound.maximum) << guard >= 1 << stock.STATE_BITS:
            reach = threshold if what == "threshold" else f"[{bound.minimum}, {bound.maximum}]"
            yield f"its {what} {reach} and the {guard} guard bits of {steps} steps leave the {stock.STATE_BITS} bits of a stock neuron"
    mantissa = stock.bias_mantissa(window.bias, steps)
    if bits_needed(int(mantissa.min()), int(mantissa.max())) > stock.MANTISSA_BITS:
        reach = f"[{window.bias.min()}, {window.bias.max()}]"
        yield f"its bias {reach} and {guard} guard bits leave the {stock.MANTISSA_BITS} bits of a stock neuron's bias"
