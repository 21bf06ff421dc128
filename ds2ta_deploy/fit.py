"""What a network would take of a neuromorphic chip: an estimate from published limits. Nothing is run on a chip."""

from math import ceil, prod
from typing import Literal

import msgspec

from ds2ta_deploy.chip_forms import problems, state_words
from ds2ta_deploy.chips import Chip
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.intervals import bits_needed
from ds2ta_deploy.graph.ops import (
    Add,
    Chunk,
    Conv2d,
    InputTable,
    Linear,
    Lookup,
    MaxPool2d,
    Mul,
    Op,
    Readout,
    ReduceSum,
    TimeMix,
    Unchunk,
)
from ds2ta_deploy.graph.populations import Population, group

_WEIGHED = (Linear, Conv2d, Readout)

#: Ops of one neuron an output, which adds up what it is sent with weights of 1.
_RELAYS = (MaxPool2d, Add, Mul, ReduceSum)


class PopulationFit(msgspec.Struct, kw_only=True, frozen=True):
    """What one population takes.

    Attributes:
        name: dotted name.
        kind: as in the graph's populations.
        place: ``cores``, or ``outside`` for what prepares the input.
        neurons: places of state: one a token (or pixel) and channel.
        synapses: connections when every token has its own copy.
        weights: stored weights when tokens share them.
        weight_bits: bits of the largest weight, sign included; 0 without weights.
        state_bits: bits of the widest sum, current or membrane, as proven.
        state_words: words a neuron keeps: its membrane, the history of its temporal window or of what it mixes over time, the
            earlier steps of a chunk on the way in and out, and the sum of a current that it sends on without a neuron.
        payload_bits: bits of the largest number that it sends, as proven, with its sign where it has one; 1 for spikes.
        shared_bytes: of the weights and tables when tokens share them.
        unshared_bytes: of the synapses when every token has its own, and of the tables.
        state_bytes: of all neurons' words.
        cores: cores that each limit alone asks for.
        problems: what of it the chip has no form for, in words.

    """

    name: str
    kind: str
    place: Literal["cores", "outside"]
    neurons: int
    synapses: int
    weights: int
    weight_bits: int
    state_bits: int
    state_words: int
    payload_bits: int
    shared_bytes: int
    unshared_bytes: int
    state_bytes: int
    cores: dict[str, int]
    problems: tuple[str, ...]


class Fit(msgspec.Struct, kw_only=True, frozen=True):
    """What a network takes of a chip.

    Attributes:
        schema: version of this format.
        graph: name of the graph.
        chip: its limits, with their sources.
        populations: in graph order.
        cores_shared: cores, when tokens share weights.
        cores_unshared: cores, when every token has its own copy of every weight.
        chips_shared: chips for these cores.
        chips_unshared: chips for these cores, and for the number of synapses.
        fits: whether every population has a form on the chip. That it was run on one is not said.

    """

    schema: Literal["ds2ta-fit/1"] = "ds2ta-fit/1"
    graph: str
    chip: Chip
    populations: tuple[PopulationFit, ...]
    cores_shared: int
    cores_unshared: int
    chips_shared: int
    chips_unshared: int
    fits: bool


def estimate(graph: Graph, chip: Chip) -> Fit:
    """Count what every population of a graph takes, and what of it a chip has no form for.

    Cores are counted population by population: a core holds neurons of one population only. Connections into
    the borders of a convolution's padding are not counted. Axons, routing tables and microcode are not counted.

    Example:
        >>> estimate(graph, read_chip("loihi2")).chips_shared  # doctest: +SKIP
        1

    """
    entries = tuple(_population(graph, part, chip) for part in group(graph) if _takes_something(part))
    on_cores = [entry for entry in entries if entry.place == "cores"]
    shared = sum(_most(entry, "unshared") for entry in on_cores)
    unshared = sum(_most(entry, "shared") for entry in on_cores)
    per_chip = chip.limits.cores_per_chip.value
    synapses = sum(entry.synapses for entry in on_cores)
    return Fit(
        graph=graph.name,
        chip=chip,
        populations=entries,
        cores_shared=shared,
        cores_unshared=unshared,
        chips_shared=ceil(shared / per_chip),
        chips_unshared=max(ceil(unshared / per_chip), ceil(synapses / chip.limits.synapses_per_chip.value)),
        fits=not any(entry.problems for entry in entries),
    )


def _takes_something(population: Population) -> bool:
    """Reshaping takes nothing: it is a matter of where spikes are sent. A chunk of several steps waits for the last one."""
    return any(not op.REARRANGES or (isinstance(op, Chunk | Unchunk) and op.steps > 1) for op in population.ops)


def _most(entry: PopulationFit, without: str) -> int:
    """Cores by the strictest limit, leaving out the ones that belong to the other way of storing weights."""
    return max(count for limit, count in entry.cores.items() if not limit.endswith(f"_{without}"))


def _population(graph: Graph, population: Population, chip: Chip) -> PopulationFit:
    last = population.ops[-1]
    sent = last.outputs[0]
    axes = graph.types[sent].shape
    neurons = _product(axes[1:] if sent == graph.output else axes[2:])
    synapses, weights, weight_bits, tables = _synapses(graph, population)
    names = [name for op in population.ops for name in op.outputs]
    state_bits = max((graph.ranges[name].bits for name in names if graph.types[name].dtype == "int32"), default=0)
    words = sum(state_words(op) for op in population.ops)
    if graph.types[sent].dtype == "int32" and not isinstance(last, Readout):
        words += 1
    payload = 0 if sent == graph.output else max(_payload(graph, name) for name in population.outputs or (sent,))
    shared, unshared = ceil(weights * weight_bits / 8) + tables, ceil(synapses * weight_bits / 8) + tables
    state = ceil(neurons * words * chip.limits.state_bits.value / 8)
    outside = any(isinstance(op, InputTable) for op in population.ops) or _reads_pixels(graph, population, weight_bits, chip)
    return PopulationFit(
        name=population.name,
        kind=type(last).__name__ if population.kind == "Single" else population.kind,
        place="outside" if outside else "cores",
        neurons=neurons,
        synapses=synapses,
        weights=weights,
        weight_bits=weight_bits,
        state_bits=state_bits,
        state_words=words,
        payload_bits=payload,
        shared_bytes=shared,
        unshared_bytes=unshared,
        state_bytes=state,
        cores={} if outside else _cores(chip, neurons, shared, unshared, state),
        problems=() if outside else tuple(problems(graph, population, chip, weight_bits, state_bits, payload)),
    )


def _payload(graph: Graph, name: str) -> int:
    """Bits of what is sent: integers of any sign need one for it."""
    interval = graph.ranges[name]
    return interval.bits if interval.minimum < 0 else max(interval.maximum.bit_length(), 1)


def _reads_pixels(graph: Graph, population: Population, weight_bits: int, chip: Chip) -> bool:
    """Whether it is the first layer, with weights or inputs wider than the cores take: then it is part of the encoder."""
    tables = {op.outputs[0] for op in graph if isinstance(op, InputTable)}
    read = [name for name in population.inputs if name in tables]
    return bool(read) and (weight_bits > chip.limits.weight_bits.value or graph.ranges[read[0]].bits > chip.limits.payload_bits.value)


def _synapses(graph: Graph, population: Population) -> tuple[int, int, int, int]:
    """Return connections, stored weights, bits of a weight, and bytes of tables."""
    synapses = weights = bits = tables = 0
    for op in population.ops:
        if isinstance(op, _WEIGHED):
            bits = max(bits, bits_needed(int(op.weight.min()), int(op.weight.max())))
            weights += op.weight.size
            synapses += _connections(graph, op)
        elif isinstance(op, _RELAYS):  # weights of 1 from the window's neurons, from both sides, from all that is summed
            senders = _senders(graph, op)
            synapses += senders * _product(graph.types[op.outputs[0]].shape[2:])
            weights, bits = weights + senders, max(bits, 2)
        elif isinstance(op, Lookup | TimeMix):
            tables += (op.table if isinstance(op, Lookup) else op.matrix).nbytes
    return synapses, weights, bits, tables


def _senders(graph: Graph, op: Op) -> int:
    """Neurons that one relay listens to."""
    if isinstance(op, ReduceSum):
        return graph.types[op.inputs[0]].shape[op.axis] or 0
    return 9 if isinstance(op, MaxPool2d) else 2


def _connections(graph: Graph, op: Linear | Conv2d | Readout) -> int:
    """Count pairs of a sender and a receiver; a convolution's window that hangs over the border has fewer."""
    places = graph.types[op.inputs[0]].shape[2:-1]
    if not isinstance(op, Conv2d):
        return op.weight.size * _product(places)
    height, width = (size or 0 for size in places)
    out, size, _, channels = op.weight.shape
    reach = [op.dilation * tap for tap in range(-(size // 2), size // 2 + 1)]
    pairs = sum(max(height - abs(dy), 0) * max(width - abs(dx), 0) for dy in reach for dx in reach)
    return pairs * int(out * channels)


def _product(axes: tuple[int | None, ...]) -> int:
    return prod(size or 1 for size in axes)


def _cores(chip: Chip, neurons: int, shared: int, unshared: int, state: int) -> dict[str, int]:
    limits = chip.limits
    cores = {
        "neurons": ceil(neurons / limits.neurons_per_core.value),
        "synapses_shared": ceil(shared / limits.synaptic_bytes_per_core.value),
        "synapses_unshared": ceil(unshared / limits.synaptic_bytes_per_core.value),
    }
    if limits.bytes_per_core is not None:
        cores["memory_shared"] = ceil((shared + state) / limits.bytes_per_core.value)
        cores["memory_unshared"] = ceil((unshared + state) / limits.bytes_per_core.value)
    return cores
