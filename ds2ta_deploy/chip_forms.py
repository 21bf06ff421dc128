"""What an op keeps on a chip, and what of it has no form there, in words."""

from collections.abc import Iterator

from ds2ta_deploy.chips import Chip
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import Chunk, Lif, Lookup, MatMul, MaxPool2d, Mul, Op, Readout, TemporalWindow, Threshold, TimeMix, Unchunk
from ds2ta_deploy.graph.populations import Population


def state_words(op: Op) -> int:
    """Words that a neuron keeps for one of its ops."""
    match op:
        case Lif() | Readout():
            return 1
        case TemporalWindow():
            return op.taps - 1
        case TimeMix():
            return len(op.matrix) - 1
        case Chunk() | Unchunk():
            return op.steps - 1
        case _:
            return 0


def problems(graph: Graph, population: Population, chip: Chip, weight_bits: int, state_bits: int, payload: int) -> Iterator[str]:
    """Say what of a population has no form on the chip."""
    limits = chip.limits
    if any(isinstance(op, MatMul) for op in population.ops):
        yield "query by key and map by value multiply two activations; synapses hold weights, so there is no synapse for these products"
    for op in population.ops:
        widest = max(graph.ranges[name].maximum for name in op.inputs)
        if isinstance(op, Mul) and (widest > 1 or graph.types[op.inputs[0]].dtype == "int32"):
            yield "numbers that are no spikes are multiplied; only of two spikes is the product a threshold of 2"
        if isinstance(op, MaxPool2d) and (widest > 1 or graph.types[op.inputs[0]].dtype == "int32"):
            yield "the largest of several numbers is sent on; synapses add them up, and only of spikes is the maximum a threshold of 1"
    for what, bits, granted in (
        ("weights", weight_bits, limits.weight_bits.value),
        ("state", state_bits, limits.state_bits.value),
        ("what it sends", payload, limits.payload_bits.value),
    ):
        if bits > granted:
            yield f"{what} need{'' if what == 'weights' else 's'} {bits} bits of {granted}"
    if not chip.features.programmable_neurons.value:
        for kinds, text in _FIXED_LACKS:
            if any(isinstance(op, kinds) and (state_words(op) or _always(op)) for op in population.ops):
                yield text


def _always(op: Op) -> bool:
    """Whether the op needs a programmable neuron even if it keeps nothing."""
    return isinstance(op, Lookup | Threshold | TimeMix)


#: What a fixed neuron does not do.
_FIXED_LACKS: tuple[tuple[type[Op] | tuple[type[Op], ...], str], ...] = (
    (Lookup, "the attention denoiser is a table, which a fixed neuron does not look up"),
    (TemporalWindow, "the temporal window shifts partial sums of past steps, which a fixed neuron does not keep"),
    (TimeMix, "present and past steps are weighted and added, which a fixed neuron does not keep"),
    ((Chunk, Unchunk), "a chunk of time steps is attended as one, which a fixed neuron does not keep"),
    (Threshold, "every time step has its threshold, and nothing is kept; a fixed neuron has one threshold and a membrane"),
    (Lif, "the membrane leaks by a floor shift and fires at equality; the fixed neuron rounds toward zero and fires above its threshold"),
)
