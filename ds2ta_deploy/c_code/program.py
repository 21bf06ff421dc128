"""A graph, laid out, timed, grouped and placed: all that its C code says, before it is text."""

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.c_code.calls import Call, calls
from ds2ta_deploy.c_code.layout import VIEWS, Layout, layouts
from ds2ta_deploy.c_code.memory import TYPES, Memory, plan_memory
from ds2ta_deploy.c_code.timing import Timing, timing
from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ops import DTYPE_LIMITS, Op
from ds2ta_deploy.graph.ranges import PROFILES, prove
from ds2ta_deploy.graph.stepping import BlockGraph, StepForm, readout_of

#: Ops that have a kernel, and views.
KNOWN = (
    *(ops.Add, ops.Conv2d, ops.InputTable, ops.Lif, ops.Linear, ops.Lookup, ops.MatMul, ops.MaxPool2d),
    *(ops.Mul, ops.Readout, ops.ReduceSum, ops.TemporalWindow, ops.Threshold, ops.TimeMix, *VIEWS),
)


@dataclass(frozen=True, eq=False)
class Program:
    """A graph as C code has it.

    Attributes:
        form: what it computes, and for how long that is proven.
        layouts: of every value.
        timing: when every value is made.
        calls: what runs, in order.
        memory: where everything is.

    """

    form: StepForm
    layouts: dict[str, Layout]
    timing: Timing
    calls: list[Call]
    memory: Memory

    @property
    def graph(self) -> Graph:
        """The sequence that it computes."""
        return self.form.sequence

    @cached_property
    def readout(self) -> ops.Readout:
        """The op that makes the logits."""
        return readout_of(self.graph)

    @property
    def repeats_a_picture(self) -> bool:
        """Whether a step without a frame sees the picture of the step before."""
        return self.timing.moments[self.graph.input_name].rate == "once"

    @property
    def sums_late(self) -> bool:
        """Whether the readout waits until a chunk is full."""
        return self.timing.moments[self.graph.output].phase > 0

    @cached_property
    def longest_sum(self) -> int:
        """Time steps that one sum of logits may cover: as many as are proven, and no part of the sum leaves 32 bits."""
        tokens = prod(self.layouts[self.readout.inputs[0]].sizes[:-1])
        most = max(abs(end) for end in _partial_sum(self.readout, self.form.block)) * tokens
        return min(self.form.longest_sum, DTYPE_LIMITS["int32"][1] // max(most, 1))

    @cached_property
    def outputs(self) -> dict[str, str]:
        """Op -> its first output."""
        return {op.name: op.outputs[0] for op in self.graph}

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

    @cached_property
    def state_struct(self) -> np.dtype[np.void]:
        """``ds2ta_state``: two numbers, the arrays, and what fills the last word."""
        arrays = [(TYPES[dtype][0], dtype, (size,)) for dtype, size in self.memory.sizes.items() if size]
        return np.dtype([("step", np.uint32), ("summed", np.uint32), *arrays], align=True)

    def step_number(self, taken: int) -> int:
        """Return the state's ``step`` after so many steps: in an endless run, whether there was one, and the place in a chunk."""
        chunk = self.timing.chunk
        return taken if self.form.longest is not None or taken < chunk else chunk + taken % chunk

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
    if [op.outputs[0] for op in graph if isinstance(op, ops.Readout)] != [graph.output]:
        raise UnsupportedError(Problem("DS2TA-252", "has not exactly one readout that makes its output, as C code needs", graph.name))
    form, placed, timed = StepForm.of(graph), layouts(graph), timing(graph)
    called = calls(graph, placed, timed)
    program = Program(form, placed, timed, called, plan_memory(form, placed, timed, called))
    problems = _partial_sums(program)
    if problems:
        raise UnsupportedError(problems)
    _require_input_at_once(program)
    return program


def _partial_sums(program: Program) -> list[Problem]:
    """The proof bounds whole sums; kernels add term by term, and no partial sum may overflow either."""
    problems, (least, most) = [], DTYPE_LIMITS["int32"]
    for op in program.graph:
        if isinstance(op, ops.Linear | ops.Conv2d):
            low, high = _partial_sum(op, program.form.block)
            if low < least or high > most:
                what = f"its partial sums can reach [{low}, {high}], which 32 bits cannot hold"
                problems.append(Problem("DS2TA-220", what, op.outputs[0], "use fewer weight bits for this layer"))
    if program.longest_sum < program.timing.steps:
        what = f"its partial sums fit into 32 bits for {program.longest_sum} time steps, not {program.timing.steps}"
        problems.append(Problem("DS2TA-220", what, program.graph.output, "use fewer weight bits for this layer"))
    return problems


def _partial_sum(op: ops.Linear | ops.Conv2d | ops.Readout, graph: BlockGraph) -> tuple[int, int]:
    """Bound the sum of some of an output's terms, whichever: over the inputs of one token or pixel and its neighbours."""
    weight = np.moveaxis(op.weight.astype(np.int64), -1, 1).reshape(*op.weight.shape[:1], op.weight.shape[-1], -1)
    bounds = [bound[:, None] for bound in graph.ranges[op.inputs[0]].with_zero().per_channel(op.weight.shape[-1])]
    ends = np.stack([weight * bound for bound in bounds])
    return int(ends.min(axis=0).clip(max=0).sum(axis=(1, 2)).min()), int(ends.max(axis=0).clip(min=0).sum(axis=(1, 2)).max())


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
