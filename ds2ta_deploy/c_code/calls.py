"""Ops that run together, row by row, so that what passes between them is one row and not a whole layer."""

from dataclasses import dataclass

from ds2ta_deploy.c_code.layout import VIEWS, Layout
from ds2ta_deploy.c_code.timing import Moment, Timing
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import Op

#: Ops that can make one row of their output from one row of their first input.
_BY_ROW = (ops.TemporalWindow, ops.Lif, ops.Lookup, ops.Threshold, ops.TimeMix, ops.Add, ops.Mul, ops.MatMul)

#: Ops that make their whole output at once.
_WHOLE = (ops.MaxPool2d, ops.ReduceSum, ops.Readout)


@dataclass(frozen=True, eq=False)
class Call:
    """Ops that run together; one C function.

    Attributes:
        ops: each but the first reads what the one before made.
        moment: when.
        by_row: whether it runs row by row.

    """

    ops: tuple[Op, ...]
    moment: Moment
    by_row: bool

    @property
    def passed(self) -> tuple[str, ...]:
        """Values that pass from one of its ops to the next; only a row of them is ever there."""
        return tuple(op.outputs[0] for op in self.ops[:-1])


def calls(graph: Graph, layouts: dict[str, Layout], timing: Timing) -> list[Call]:
    """Return what runs, in an order in which it can: once, at each frame, then phase by phase at a chunk's end."""
    working = [op for op in graph if not isinstance(op, VIEWS)]
    readers = readers_of(graph, layouts)
    groups: list[list[Op]] = []
    last: dict[str, list[Op]] = {}  # value that ends a group -> the group
    for op in working:
        source = layouts[op.inputs[0]].root
        group = last.pop(source, None) if _continues(op, graph, layouts, timing, readers) else None
        if group is None:
            groups.append(group := [])
        group.append(op)
        if not _whole(op, layouts) and not any(readers[name] for name in op.outputs[1:]):
            last[op.outputs[0]] = group
    position = {op.name: index for index, op in enumerate(working)}
    groups.sort(key=lambda group: position[group[-1].name])
    made = [Call(tuple(group), timing.moments[group[-1].outputs[0]], not _whole(group[0], layouts)) for group in groups]
    return sorted(made, key=_when)


def _when(call: Call) -> tuple[bool, int, bool]:
    """The first step's own calls, then phase after phase; in a phase, chunks before frames."""
    return call.moment.rate != "once", call.moment.phase, call.moment.rate == "frame"


def readers_of(graph: Graph, layouts: dict[str, Layout]) -> dict[str, list[Op]]:
    """Return root -> the ops that read its memory, under whatever name; a view reads nothing."""
    readers: dict[str, list[Op]] = {layout.root: [] for layout in layouts.values()}
    for op in graph:
        if not isinstance(op, VIEWS):
            for name in op.inputs:
                readers[layouts[name].root].append(op)
    return readers


def _whole(op: Op, layouts: dict[str, Layout]) -> bool:
    """Whether the op makes all of its output at once."""
    spread = isinstance(op, ops.Mul) and layouts[op.inputs[0]].sizes != layouts[op.inputs[1]].sizes
    return isinstance(op, _WHOLE) or spread


def _continues(op: Op, graph: Graph, layouts: dict[str, Layout], timing: Timing, readers: dict[str, list[Op]]) -> bool:
    """Whether the op can take its first input row by row from the op that makes it, which nobody else reads."""
    if not isinstance(op, _BY_ROW) or _whole(op, layouts):
        return False
    source = layouts[op.inputs[0]]
    stays = timing.moments[source.root] == timing.moments[op.outputs[0]] and source.root != graph.input_name
    stays = stays and layouts[source.root].in_memory[0] == layouts[op.outputs[0]].in_memory[0]
    alone = readers[source.root] == [op]  # an op that reads it twice is in the list twice
    if isinstance(op, ops.MatMul):
        alone = alone and not op.transpose_left and source.order == layouts[op.outputs[0]].order
    return stays and alone
