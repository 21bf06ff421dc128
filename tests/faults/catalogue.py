"""The catalogue of faults: what is put into an artifact to see whether verification notices.

A fault of data changes one integer and says which; a structural fault is a whole changed graph. Both are said in the
terms of the integer graph; a target's adapter puts them into its own file.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.serialize import _own_fields

#: Kinds of faults that neurons and shifts may have.
MORE_THAN, TOWARD_ZERO = "> for >=", "shift toward zero"


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        kind: row of the score.
        place: ``<op>/<field>`` or whatever says best where it is.
        index: element of the tensor; empty for a structural fault.
        value: what the element becomes.

    """

    kind: str
    place: str
    index: tuple[int, ...] = ()
    value: int = 0

    @property
    def op(self) -> str:
        """Name of the op it is in."""
        return self.place.split("/")[0]

    @property
    def field(self) -> str:
        """Field of the op that is changed."""
        return self.place.split("/")[-1]


def tensors_of(graph: Graph) -> dict[str, NDArray[np.integer]]:
    """Return every array by ``<op>/<field>``."""
    return {f"{op.name}/{name}": getattr(op, name) for op in graph for name in op.ARRAYS}


def with_element(array: NDArray[np.integer], fault: Fault) -> NDArray[np.integer]:
    """Return a copy of a tensor with the fault in it."""
    changed = array.copy()
    changed[fault.index] = fault.value
    return changed


def off_by_one(tensors: dict[str, NDArray[np.integer]], most: int, seed: int) -> Iterator[Fault]:
    """Yield integers increased or decreased by one: all of a tensor, or ``most`` of them, drawn by the seed."""
    random = np.random.default_rng(seed)
    for place, array in tensors.items():
        chosen = random.permutation(array.size)[:most]
        for number in sorted(int(element) for element in chosen):
            index = tuple(int(axis) for axis in np.unravel_index(number, array.shape))
            old, step = int(array[index]), int(random.choice([-1, 1]))
            limits = np.iinfo(array.dtype)
            step = step if limits.min <= old + step <= limits.max else -step
            yield Fault(f"{_noun(place)} ±1", place, index, old + step)


def bit_flips(tensors: dict[str, NDArray[np.integer]], count: int, seed: int) -> Iterator[Fault]:
    """Yield single-bit flips, spread evenly over the tensors, at random elements and bits."""
    random = np.random.default_rng(seed)
    places = list(tensors)
    for number in range(count):
        place = places[number % len(places)]
        array = tensors[place]
        index = tuple(int(random.integers(size)) for size in array.shape)
        flipped = array[index].view(f"u{array.itemsize}") ^ np.array(1 << int(random.integers(8 * array.itemsize)), f"u{array.itemsize}")
        yield Fault(f"bit of a {_noun(place)}", place, index, int(flipped.view(array.dtype)))


def _noun(place: str) -> str:
    return place.rsplit("/", 1)[-1]


def with_fields(graph: Graph, name: str, **fields: object) -> Graph:
    """Return the graph with some fields of one op changed."""
    return dataclasses.replace(graph, ops=tuple(dataclasses.replace(op, **fields) if op.name == name else op for op in graph))


def shifts(graph: Graph) -> Iterator[tuple[Fault, Graph]]:
    """Yield every shift, decay, number of guard bits and leak off by one."""
    for op in graph:
        for name in _own_fields(type(op)):
            if name in ("decay", "guard_bits", "leak_shift", "leak_numerator"):
                low, high = op.INTEGERS[name]
                old = getattr(op, name)
                for value in (old - 1, old + 1):
                    if low <= value <= high:
                        yield Fault("shift ±1", f"{op.name}/{name}", value=value), with_fields(graph, op.name, **{name: value})


def windows(graph: Graph) -> Iterator[tuple[Fault, Graph]]:
    """Yield every temporal window one tap shorter and one tap longer."""
    for op in graph:
        if isinstance(op, ops.TemporalWindow):
            for taps in (op.taps - 1, op.taps + 1):
                if taps >= 1:
                    yield Fault("window ±1", f"{op.name}/taps", value=taps), with_fields(graph, op.name, taps=taps)


def residuals(graph: Graph) -> Iterator[tuple[Fault, Graph]]:
    """Yield every residual sum replaced by one of its operands: who reads the sum reads the operand."""
    for op in graph:
        if isinstance(op, ops.Add):
            for number, operand in enumerate(op.inputs):
                kept = tuple(
                    dataclasses.replace(other, inputs=tuple(operand if name == op.outputs[0] else name for name in other.inputs))
                    for other in graph
                    if other.name != op.name
                )
                yield Fault("dropped residual", f"{op.name}, operand {number} alone"), dataclasses.replace(graph, ops=kept)


def heads(graph: Graph) -> Iterator[tuple[Fault, Graph]]:
    """Yield heads out of order: their tables; the channels of the queries, keys or values alone; those of the output."""
    makers = {name: op for op in graph for name in op.outputs}
    for op in graph:
        if isinstance(op, ops.Lookup):
            yield Fault("swapped heads", f"{op.name}/table"), with_fields(graph, op.name, table=np.roll(op.table, 1, axis=0))
        if isinstance(op, ops.SplitHeads):
            neuron = makers[op.inputs[0]]
            if not isinstance(neuron, ops.Lif):
                continue  # heads of masks and pooled maps are not made by a layer alone
            window = makers[neuron.inputs[0]]
            weights = makers[window.inputs[0]]
            assert isinstance(window, ops.TemporalWindow)
            assert isinstance(weights, ops.Linear)
            width = len(neuron.threshold) // op.heads
            swapped = with_fields(graph, neuron.name, threshold=np.roll(neuron.threshold, width))
            swapped = with_fields(swapped, window.name, bias=np.roll(window.bias, width))
            yield Fault("swapped heads", weights.name), with_fields(swapped, weights.name, weight=np.roll(weights.weight, width, axis=0))
    for op in graph:
        if isinstance(op, ops.Linear) and op.name.endswith("attn.proj.weights"):
            width = op.weight.shape[1] // next(split.heads for split in graph if isinstance(split, ops.SplitHeads))
            yield Fault("swapped heads", f"{op.name}/inputs"), with_fields(graph, op.name, weight=np.roll(op.weight, width, axis=1))


def comparisons(graph: Graph) -> Iterator[tuple[Fault, Graph]]:
    """Yield ``>`` for ``>=`` in every neuron: of integers, that is a threshold one higher."""
    for op in graph:
        if isinstance(op, ops.Lif | ops.Threshold):
            yield Fault(MORE_THAN, op.name), with_fields(graph, op.name, threshold=op.threshold + np.int32(1))


def arrangements(graph: Graph) -> Iterator[tuple[Fault, Graph]]:
    """Yield every dilation, stride, axis and chunk that may be another one, sides of products swapped or turned, past steps forgotten."""
    other = {
        "dilation": (1, 2, 3),
        "stride": (1, 2),
        "axis": (2, 3, 4),
        "steps": (1, 2, 4),
        "transpose_left": (0, 1),
        "transpose_right": (0, 1),
    }
    for op in graph:
        for name, values in other.items():
            for value in values:
                if name in _own_fields(type(op)) and value != getattr(op, name):
                    yield from _if_well_formed("arrangement", f"{op.name}/{name}", with_fields(graph, op.name, **{name: value}))
        if isinstance(op, ops.MatMul):
            yield from _if_well_formed("swapped sides", op.name, with_fields(graph, op.name, inputs=op.inputs[::-1]))
        if isinstance(op, ops.TimeMix):
            yield Fault("forgotten past", op.name), with_fields(graph, op.name, matrix=np.diag(np.diag(op.matrix)))


def _if_well_formed(kind: str, place: str, graph: Graph) -> Iterator[tuple[Fault, Graph]]:
    """Yield the faulty graph unless its shapes cannot be."""
    try:
        assert graph.types
    except UnsupportedError:
        return
    yield Fault(kind, place), graph


def structural(graph: Graph) -> Iterator[tuple[Fault, Graph]]:
    """Yield every structural fault that a graph can express."""
    for faults in (shifts, windows, residuals, heads, comparisons, arrangements):
        yield from faults(graph)
