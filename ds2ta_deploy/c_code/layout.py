"""How every value lies in memory, and which values are the same memory under another name.

Heads are kept ``[token][head][channels]``, as the tokens are from which they were split. Nothing that only
rearranges (SplitHeads, MergeHeads, Chunk, Unchunk, Tokens, Pixels, Repeat) moves a byte then.
"""

from dataclasses import dataclass
from math import prod

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import Op

#: Memory order of axes: as they are counted, and heads behind their tokens.
_AS_COUNTED_3, _HEADS = (0, 1, 2), (1, 0, 2)

#: Ops whose output is their input's memory.
VIEWS = (ops.SplitHeads, ops.MergeHeads, ops.Chunk, ops.Unchunk, ops.Tokens, ops.Pixels, ops.Repeat)

#: Ops that read their first input as the axes are counted.
_COUNTED = (ops.Linear, ops.Conv2d, ops.Readout, ops.Tokens)


@dataclass(frozen=True)
class Layout:
    """Where the elements of one sample of a value lie, in one of its steps.

    Attributes:
        root: name of the value whose memory it is; its own when it is no view.
        sizes: of the axes behind time and batch.
        order: these axes from the one with the farthest neighbours to the one with the nearest.

    """

    root: str
    sizes: tuple[int, ...]
    order: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Number of elements of a step."""
        return prod(self.sizes)

    @property
    def in_memory(self) -> tuple[int, ...]:
        """Sizes of the axes in memory order."""
        return tuple(self.sizes[axis] for axis in self.order)

    @property
    def strides(self) -> tuple[int, ...]:
        """Elements from neighbour to neighbour, for each axis as counted."""
        found = dict.fromkeys(range(len(self.sizes)), 1)
        distance = 1
        for axis in reversed(self.order):
            found[axis] = distance
            distance *= self.sizes[axis]
        return tuple(found.values())

    @property
    def row(self) -> int:
        """Elements of a row: all that lies at one position of the slowest axis."""
        return self.elements // self.in_memory[0]


def layouts(graph: Graph) -> dict[str, Layout]:
    """Return the layout of every value.

    Raises:
        UnsupportedError: DS2TA-250 for every op that would have to move what others keep in place.

    """
    sizes = {name: tuple(size or 1 for size in kind.shape[2:]) for name, kind in graph.types.items()}
    sizes[graph.input_name] = tuple(size or 1 for size in graph.input_type.shape[graph.input_type.shape.index(None) + 1 :])
    sizes |= {op.outputs[0]: (op.weight.shape[0],) for op in graph if isinstance(op, ops.Readout)}
    found = {graph.input_name: Layout(graph.input_name, sizes[graph.input_name], tuple(range(len(sizes[graph.input_name]))))}
    problems: list[Problem] = []
    for op in graph:
        try:
            order = _order(op, [found[name].order for name in op.inputs])
        except UnsupportedError as error:
            problems += error.problems
            order = tuple(range(len(sizes[op.outputs[0]])))
        for name in op.outputs:
            root = found[op.inputs[0]].root if isinstance(op, VIEWS) else name
            found[name] = Layout(root, sizes[name], order)
    if problems:
        raise UnsupportedError(problems)
    return found


def _order(op: Op, inputs: list[tuple[int, ...]]) -> tuple[int, ...]:
    """Memory order of the output's axes.

    Raises:
        UnsupportedError: DS2TA-250 when an input lies in an order that the op cannot read.

    """
    first = inputs[0]
    heads = isinstance(op, ops.MergeHeads | ops.Chunk | ops.Unchunk | ops.Lookup)
    if heads and first != _HEADS:
        raise _misplaced(op, "heads that were split from tokens")
    if isinstance(op, _COUNTED) and first != tuple(range(len(first))):
        raise _misplaced(op, "tokens or a picture, not heads")
    if isinstance(op, ops.Add | ops.Mul) and inputs[1] != first:
        raise _misplaced(op, "two values of one kind")
    match op:
        case ops.SplitHeads() | ops.MatMul():
            return _HEADS
        case ops.MergeHeads() | ops.Tokens():
            return (0, 1)
        case ops.Pixels():
            return _AS_COUNTED_3
        case ops.Readout():
            return (0,)
        case _:
            return first


def _misplaced(op: Op, wanted: str) -> UnsupportedError:
    return UnsupportedError(Problem("DS2TA-250", f"the op {type(op).__name__} has a C form for {wanted} only", op.name))
