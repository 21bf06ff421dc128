"""A graph, laid out, timed, grouped and placed: all that its C code says, before it is text."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.c_code.calls import Call, calls
from ds2ta_deploy.c_code.layout import VIEWS, Layout, layouts
from ds2ta_deploy.c_code.memory import Memory, plan_memory
from ds2ta_deploy.c_code.timing import Timing, timing
from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import DTYPE_LIMITS, Op
from ds2ta_deploy.graph.ranges import PROFILES, prove

#: Ops that have a kernel, and views.
KNOWN = (
    *(ops.Add, ops.Conv2d, ops.InputTable, ops.Lif, ops.Linear, ops.Lookup, ops.MatMul, ops.MaxPool2d),
    *(ops.Mul, ops.Readout, ops.ReduceSum, ops.TemporalWindow, ops.Threshold, ops.TimeMix, *VIEWS),
)


@dataclass(frozen=True, eq=False)
class Program:
    """A graph as C code has it.

    Attributes:
        graph: what it computes.
        layouts: of every value.
        timing: when every value is made.
        calls: what runs, in order.
        memory: where everything is.

    """

    graph: Graph
    layouts: dict[str, Layout]
    timing: Timing
    calls: list[Call]
    memory: Memory

    @cached_property
    def readout(self) -> ops.Readout:
        """The op that makes the logits."""
        (found,) = [op for op in self.graph if isinstance(op, ops.Readout)]
        return found

    @cached_property
    def number(self) -> dict[str, int]:
        """Op -> its number in the graph, which is part of its names in C."""
        return {op.name: index for index, op in enumerate(self.graph)}

    @cached_property
    def traced(self) -> tuple[str, ...]:
        """Values that a trace tells, in graph order: the ones with memory of their own, without the logits."""
        return tuple(
            name for name, layout in self.layouts.items() if layout.root == name and name not in (self.graph.input_name, self.graph.output)
        )

    @property
    def state_struct_bytes(self) -> int:
        """``sizeof(ds2ta_state)``: the step's number, the arrays, and what fills the last word."""
        used = 4 + self.memory.state_bytes + self.memory.arena_bytes
        return -(-used // 4) * 4

    @cached_property
    def constants(self) -> dict[str, NDArray[np.integer]]:
        """Name in C -> every array of constants, flat, as the kernels read it; weights ``[in][out]``."""
        found: dict[str, NDArray[np.integer]] = {}
        for op in self.graph:
            for role in op.ARRAYS:
                found[self.constant(op, role)] = as_read(op, role)
        return found

    def constant(self, op: Op, role: str) -> str:
        """Name of one of an op's arrays in C."""
        return f"{role}_{self.number[op.name]}"

    @property
    def constant_bytes(self) -> int:
        """Bytes of all constants."""
        return sum(array.nbytes for array in self.constants.values())


def as_read(op: Op, role: str) -> NDArray[np.integer]:
    """Return one of an op's arrays, flat, in the order in which its kernel reads it."""
    array: NDArray[np.integer] = getattr(op, role)
    if role == "weight":
        array = np.moveaxis(array, 0, -1)
    return np.ascontiguousarray(array).reshape(-1)


def build_program(graph: Graph) -> Program:
    """Plan the C code of a graph.

    Raises:
        UnsupportedError: DS2TA-220 or 221 for what 32 bits or a table cannot hold, partial sums included; DS2TA-250 for
            ops without a kernel or whose inputs lie in an order that has no C form, 251 for mixed rates, 252 without exactly one readout.

    """
    unknown = [op for op in graph if not isinstance(op, KNOWN)]
    if unknown:
        raise UnsupportedError(Problem("DS2TA-250", f"the op {type(op).__name__} has no C form", op.name) for op in unknown)
    prove(graph, PROFILES["cpu"])
    problems = _partial_sums(graph)
    if sum(isinstance(op, ops.Readout) for op in graph) != 1 or not any(
        isinstance(op, ops.Readout) and op.outputs[0] == graph.output for op in graph
    ):
        problems.append(Problem("DS2TA-252", "has not exactly one readout that makes its output, as C code needs", graph.name))
    if problems:
        raise UnsupportedError(problems)
    placed = layouts(graph)
    timed = timing(graph)
    called = calls(graph, placed, timed)
    program = Program(graph, placed, timed, called, plan_memory(graph, placed, timed, called))
    _require_input_at_once(program)
    return program


def _partial_sums(graph: Graph) -> list[Problem]:
    """The proof bounds whole sums; kernels add term by term, and no partial sum may overflow either."""
    problems = []
    for op in graph:
        if isinstance(op, ops.Linear | ops.Conv2d):
            weight = np.moveaxis(op.weight.astype(np.int64), -1, 1).reshape(*op.weight.shape[:1], op.weight.shape[-1], -1)
            bounds = [bound[:, None] for bound in graph.ranges[op.inputs[0]].with_zero().per_channel(op.weight.shape[-1])]
            ends = np.stack([weight * bound for bound in bounds])
            low, high = int(ends.min(axis=0).clip(max=0).sum(axis=(1, 2)).min()), int(ends.max(axis=0).clip(min=0).sum(axis=(1, 2)).max())
            limits = DTYPE_LIMITS["int32"]
            if low < limits[0] or high > limits[1]:
                what = f"its partial sums can reach [{low}, {high}], which 32 bits cannot hold"
                problems.append(Problem("DS2TA-220", what, op.outputs[0], "use fewer weight bits for this layer"))
    return problems


def _require_input_at_once(program: Program) -> None:
    """A frame is there for one step only: nobody may want it later."""
    late = [
        op
        for op in program.graph
        for name in op.inputs
        if program.layouts[name].root == program.graph.input_name
        and program.timing.moments[op.outputs[0]] != program.timing.moments[program.graph.input_name]
        and op.outputs[0] in program.memory.values
    ]
    if late:
        raise UnsupportedError(
            Problem("DS2TA-251", "reads the input after its time step is over; C code does not keep it", op.name) for op in late
        )
