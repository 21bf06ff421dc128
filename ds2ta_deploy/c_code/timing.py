"""When every value is made: once, at every time step, or once a chunk of steps; and what has to wait for a chunk's end."""

from dataclasses import dataclass
from typing import Literal

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import Op

#: ``once``: when a picture is given, which is then shown for any number of steps. ``frame``: at every step.
#: ``chunk``: when a chunk of steps is full.
Rate = Literal["once", "frame", "chunk"]


@dataclass(frozen=True)
class Moment:
    """When a value is made.

    Attributes:
        rate: how often.
        phase: 0 as its frame comes; what reads a chunk of phase p is in phase p + 1, and waits until the chunk is full.

    """

    rate: Rate
    phase: int = 0


@dataclass(frozen=True)
class Timing:
    """When every value of a graph is made.

    Attributes:
        steps: T of a sample.
        chunk: steps of a chunk; 1 when there are none.
        moments: of every value.

    """

    steps: int
    chunk: int
    moments: dict[str, Moment]

    @property
    def phases(self) -> int:
        """Number of phases."""
        return 1 + max(moment.phase for moment in self.moments.values())


def timing(graph: Graph) -> Timing:
    """Find out when every value is made.

    Raises:
        UnsupportedError: DS2TA-251 when chunks of different lengths meet, an op reads values of different rates, or one
            remembers or counts steps in front of the op that repeats a picture.

    """
    still = graph.input_type.shape[0] is None and any(isinstance(op, ops.Repeat) for op in graph)
    moments = {graph.input_name: Moment("once" if still else "frame")}
    sizes = sorted({op.steps for op in graph if isinstance(op, ops.Chunk | ops.Unchunk)})
    problems = []
    if len(sizes) > 1:
        problems.append(
            Problem("DS2TA-251", f"has chunks of {' and '.join(map(str, sizes))} time steps; C code has one length", graph.name)
        )
    for op in graph:
        moment = _moment(op, [moments[name] for name in op.inputs])
        if moment is None:
            rates = " and ".join(sorted({moments[name].rate for name in op.inputs}))
            problems.append(Problem("DS2TA-251", f"reads values that are made at different rates ({rates}); C code cannot", op.name))
            moment = Moment("frame")
        elif moment.rate == "once" and (isinstance(op, ops.Threshold) or op.state_types([graph.types[name] for name in op.inputs])):
            problems.append(Problem("DS2TA-251", "looks at time steps before the picture is repeated; C code cannot", op.name))
        moments.update(dict.fromkeys(op.outputs, moment))
    if problems:
        raise UnsupportedError(problems)
    made = {kind.shape[0] or 1 for name, kind in graph.types.items() if moments[name].rate == "frame" and len(kind.shape) > 2}
    if len(made) > 1:
        what = f"runs for {' and '.join(map(str, sorted(made)))} time steps; C code has one number"
        raise UnsupportedError(Problem("DS2TA-251", what, graph.name))
    return Timing(made.pop() if made else 1, sizes[0] if sizes else 1, moments)


def _moment(op: Op, inputs: list[Moment]) -> Moment | None:
    """Return when an op runs; None when its inputs do not go together."""
    rates = {moment.rate for moment in inputs}
    phase = max(moment.phase for moment in inputs)
    if len(rates) > 1:
        return None
    rate = rates.pop()
    match op:
        case ops.Repeat():
            return Moment("frame", phase) if rate == "once" else None
        case ops.Chunk():
            return Moment("chunk", phase + 1) if rate == "frame" else None
        case ops.Unchunk():
            return Moment("frame", phase) if rate == "chunk" else None
        case _:
            return Moment(rate, phase)
