"""Where every value and every piece of state lies: three arrays, one a type, planned by lifetime."""

from dataclasses import dataclass
from math import prod

from ds2ta_deploy.c_code.calls import Call, readers_of
from ds2ta_deploy.c_code.layout import Layout
from ds2ta_deploy.c_code.timing import Timing
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.arena import Lifetime, arrange
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.intervals import Interval
from ds2ta_deploy.graph.ops import DTYPE_LIMITS
from ds2ta_deploy.graph.stepping import StepForm, readout_of

#: Storage type -> the suffix that it has in the C code, the C type, bytes.
TYPES = {"int32": ("i32", "int32_t", 4), "int16": ("i16", "int16_t", 2), "uint8": ("u8", "uint8_t", 1)}

#: Ops that may write their output over their first input: element i of the one needs element i of the other alone.
_IN_PLACE = (ops.TemporalWindow, ops.Add, ops.Mul, ops.TimeMix)


@dataclass(frozen=True)
class Region:
    """A part of one of the arrays.

    Attributes:
        dtype: of the array.
        offset: its first element.
        elements: of one frame, or of one row where only a row is kept.
        frames: how many frames are kept; more than one where a chunk is collected.
        row_only: whether a row is all there ever is.

    """

    dtype: str
    offset: int
    elements: int
    frames: int = 1
    row_only: bool = False


@dataclass(frozen=True)
class Memory:
    """All memory of a network.

    Attributes:
        values: root value -> where it is.
        state: (op, ``history``, ``past``, ``carried`` or ``total``) -> where it is; as the op's ``state_types`` say it.
        sizes: type -> elements of its array.
        state_bytes: bytes of what lives from step to step by itself: membranes, histories, sums.
        arena_bytes: bytes of values, shared by lifetime.

    """

    values: dict[str, Region]
    state: dict[tuple[str, str], Region]
    sizes: dict[str, int]
    state_bytes: int
    arena_bytes: int


@dataclass
class _Wish:
    """A value to be placed."""

    dtype: str
    elements: int
    frames: int
    first: int
    last: int
    row_only: bool


def plan_memory(form: StepForm, layouts: dict[str, Layout], timing: Timing, called: list[Call]) -> Memory:
    """Give every value and every piece of state its place."""
    graph, offsets, state = form.sequence, dict.fromkeys(TYPES, 0), dict[tuple[str, str], Region]()
    for (name, role), (dtype, elements) in _state(form).items():
        state[name, role] = Region(dtype, offsets[dtype], elements)
        offsets[dtype] += elements
    state_bytes = _bytes(offsets)
    wishes, same = _wishes(graph, layouts, timing, called)
    values: dict[str, Region] = {}
    for dtype in TYPES:
        chosen = {name: wish for name, wish in wishes.items() if wish.dtype == dtype}
        lifetimes = [Lifetime(wish.elements * wish.frames, wish.first, wish.last) for wish in chosen.values()]
        places, total = arrange(lifetimes, 1)
        for (name, wish), place in zip(chosen.items(), places, strict=True):
            values[name] = Region(dtype, offsets[dtype] + place, wish.elements, wish.frames, wish.row_only)
        offsets[dtype] += total
    for name in same:
        values[name] = values[same[name]]
    return Memory(values, state, offsets, state_bytes, _bytes(offsets) - state_bytes)


def _bytes(elements: dict[str, int]) -> int:
    return sum(TYPES[dtype][2] * count for dtype, count in elements.items())


def _state(form: StepForm) -> dict[tuple[str, str], tuple[str, int]]:
    """Return what lives from step to step: (op, role) -> type and elements of one sample.

    Membranes and windows are as narrow as the proof allows; what a TimeMix has seen has a kernel for 32 bits alone.
    """
    found, ranges = dict[tuple[str, str], tuple[str, int]](), form.state_ranges(form.block.longest)
    for name, kind in form.state_types.items():
        op, _, role = name.rpartition(".")
        dtype = "int32" if role == "past" else _narrowest(ranges[name])
        found[op, role] = dtype, prod(size for size in kind.shape if size is not None)
    readout = readout_of(form.block)
    return found | {(readout.name, "total"): ("int32", len(readout.bias))}


def _narrowest(interval: Interval) -> str:
    """Return the smallest type that holds every value of the interval."""
    low, high = DTYPE_LIMITS["int16"]
    return "int16" if low <= interval.minimum and interval.maximum <= high else "int32"


def _wishes(graph: Graph, layouts: dict[str, Layout], timing: Timing, called: list[Call]) -> tuple[dict[str, _Wish], dict[str, str]]:
    """Return what has to be placed; and value -> the value in whose place it is, in an order in which that one is known."""
    readers = readers_of(graph, layouts)
    position = {op.name: index for index, call in enumerate(called) for op in call.ops}
    wishes: dict[str, _Wish] = {}
    same: dict[str, str] = {}
    for index, call in enumerate(called):
        passed = set(call.passed)
        for op, following in zip(call.ops, [*call.ops[1:], None], strict=True):
            if isinstance(op, ops.Readout):
                continue
            name = op.outputs[0]
            source = layouts[op.inputs[0]].root
            if name in passed and isinstance(following, _IN_PLACE) and graph.types[name].dtype == graph.types[following.outputs[0]].dtype:
                same[name] = following.outputs[0]
            elif name in passed:
                wishes[name] = _Wish(graph.types[name].dtype, layouts[name].row, 1, index, index, row_only=True)
            else:
                wishes[name] = _whole(graph, layouts, timing, called, index, name, [position[reader.name] for reader in readers[name]])
            for other in op.outputs[1:]:  # the membrane
                if readers[other]:
                    found = [position[reader.name] for reader in readers[other]]
                    wishes[other] = _whole(graph, layouts, timing, called, index, other, found)
                elif source in passed:
                    same[other] = source
                else:
                    wishes[other] = _Wish(graph.types[other].dtype, layouts[other].row, 1, index, index, row_only=True)
    return wishes, dict(sorted(same.items(), key=lambda item: _depth(item[0], same)))


def _depth(name: str, same: dict[str, str]) -> int:
    """Count how often one value is written over another until the last."""
    depth = 0
    while name in same:
        name, depth = same[name], depth + 1
    return depth


def _whole(graph: Graph, layouts: dict[str, Layout], timing: Timing, called: list[Call], made: int, name: str, read: list[int]) -> _Wish:
    """Return the lifetime of a value that is kept whole, in positions of calls.

    A value that is read in a later phase is kept for all frames of a chunk; from the first phase on these come in by and by,
    so that it lives from the very beginning. What is kept over a loop of frames lives to the end of the loop.
    """
    moment = timing.moments[name]
    elements, dtype = layouts[name].elements, graph.types[name].dtype
    if moment.rate == "once" and any(called[place].moment.rate != "once" for place in read):
        frames = timing.chunk if any(called[place].moment.phase > 0 for place in read) else 1
        return _Wish(dtype, elements, frames, 0, len(called), row_only=False)
    if all(called[place].moment == moment for place in read):
        return _Wish(dtype, elements, 1, made, max([made, *read]), row_only=False)
    loops = {called[place].moment for place in [made, *read]}
    last = max(place for place, call in enumerate(called) if call.moment in loops)
    if moment.rate == "chunk":
        return _Wish(dtype, elements, 1, made, last, row_only=False)
    first = 0 if moment.phase == 0 else min(place for place, call in enumerate(called) if call.moment == moment)
    return _Wish(dtype, elements, timing.chunk, first, last, row_only=False)
