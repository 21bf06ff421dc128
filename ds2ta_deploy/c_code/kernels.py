"""One op as one statement of C: which kernel, with which numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

from ds2ta_deploy.c_code.calls import Call
from ds2ta_deploy.c_code.memory import TYPES
from ds2ta_deploy.c_code.program import Program
from ds2ta_deploy.c_code.text import struct
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.ops import Op


@dataclass
class Writer:
    """Writes the statements of one call.

    Attributes:
        program: what is written.
        call: the call.
        shapes: constant structures that the statements refer to.
        reads: what they read besides the state: ``frame``, ``t``.

    """

    program: Program
    call: Call
    shapes: list[str] = field(default_factory=list)
    reads: set[str] = field(default_factory=set)

    def statement(self, op: Op) -> str:  # noqa: PLR0911, PLR0912 - one line an op
        """Return the statement that runs an op, over a row or over all."""
        match op:
            case ops.InputTable():
                return self._do("table", self._in(op), self._count(op), self._array(op, "table"), op.table.shape[0], self._out(op))
            case ops.Linear():
                inputs, outputs = op.weight.shape[1], op.weight.shape[0]
                return self._do(f"linear_{self._weighted(op)}", self._in(op), inputs, self._array(op, "weight"), outputs, self._out(op))
            case ops.Conv2d():
                return self._conv2d(op)
            case ops.TemporalWindow():
                return self._window(op)
            case ops.Lif():
                return self._lif(op)
            case ops.Add():
                return self._do(f"add_{self._type(op.inputs[0])}", self._in(op), self._in(op, 1), self._count(op), self._out(op))
            case ops.Mul():
                return self._do(f"mul_{self._type(op.inputs[0])}", self._in(op), self._in(op, 1), self._mul_shape(op), self._out(op))
            case ops.ReduceSum():
                return self._do(f"sum_{self._type(op.inputs[0])}", self._in(op), *self._sum_sizes(op), self._out(op))
            case ops.MaxPool2d():
                return self._do(f"max_pool_{self._type(op.inputs[0])}", self._in(op), self._pool_shape(op), self._out(op))
            case ops.MatMul():
                return self._matmul(op)
            case ops.Lookup():
                heads, _, keys = self.program.layouts[op.outputs[0]].sizes
                return self._do("lookup", self._in(op), heads, keys, self._array(op, "table"), op.table.shape[1], self._out(op))
            case ops.TimeMix():
                return self._time_mix(op)
            case ops.Threshold():
                threshold = f"{self._array(op, 'threshold')}[{self.time}]"
                return self._do("threshold", self._in(op), self._count(op), threshold, self._out(op))
            case ops.Readout():
                tokens, inputs = self.program.layouts[op.inputs[0]].sizes
                weight, classes = self._array(op, "weight"), op.weight.shape[0]
                return self._do("readout", self._in(op), tokens, inputs, weight, classes, self._state(op, "total"))
            case _:
                raise AssertionError(f"{type(op).__name__} runs nothing")

    @property
    def time(self) -> str:
        """The number of the step that is computed, at the call's own rate."""
        self.reads.add("t")
        return "t"

    def place(self, name: str, distance: int | None = None) -> str:
        """Return the address of a value's row, or of all of it.

        Args:
            name: value, or view of one.
            distance: elements from row to row where these are not the next ones; 0 for all of it.

        """
        program, rate = self.program, self.call.moment.rate
        layout = program.layouts[name]
        source = program.timing.moments[layout.root]
        row = "" if not self.call.by_row or distance == 0 else f"row * {layout.row if distance is None else distance}u"
        if layout.root == program.graph.input_name:
            self.reads.add("frame")
            return f"&frame[{row or '0u'}]"
        region = program.memory.values[layout.root]
        terms = [f"{region.offset}u"]
        if rate != "chunk" and (region.frames > 1 or source.rate == "chunk"):
            terms.append(f"(({self.time} % DS2TA_CHUNK_STEPS) * {layout.elements}u)")
        if row and not region.row_only:
            terms.append(f"({row})")
        return f"&state->{TYPES[region.dtype][0]}[{' + '.join(terms)}]"

    def _in(self, op: Op, number: int = 0) -> str:
        """Address of an input; neighbours of a row are read by convolutions alone, which get the whole."""
        return self.place(op.inputs[number], 0 if isinstance(op, ops.Conv2d) else None)

    def _out(self, op: Op, number: int = 0) -> str:
        return self.place(op.outputs[number])

    def _state(self, op: Op, role: str) -> str:
        region = self.program.memory.state[op.name, role]
        row = f" + (row * {self.program.layouts[op.outputs[0]].row}u)" if self.call.by_row else ""
        return f"&state->{TYPES[region.dtype][0]}[{region.offset}u{row}]"

    def _state_type(self, op: Op, role: str) -> str:
        return TYPES[self.program.memory.state[op.name, role].dtype][0]

    def _count(self, op: Op) -> int:
        layout = self.program.layouts[op.outputs[0]]
        return layout.row if self.call.by_row else layout.elements

    def _type(self, name: str) -> str:
        return TYPES[self.program.graph.types[name].dtype][0]

    def _weighted(self, op: ops.Linear | ops.Conv2d) -> str:
        return f"{self._type(op.inputs[0])}_{'i8' if op.weight.dtype == 'int8' else 'i16'}"

    def _array(self, op: Op, role: str) -> str:
        return self.program.constant(op, role)

    def _shape(self, kind: str, op: Op, fields: Sequence[int | Sequence[int]]) -> str:
        """Define a structure beside the function and return its address."""
        name = f"shape_{self.program.number[op.name]}"
        self.shapes.append(struct(f"ds2ta_{kind}_shape", name, fields))
        return f"&{name}"

    def _do(self, kernel: str, *arguments: str | int) -> str:
        words = [f"{argument}u" if isinstance(argument, int) else argument for argument in arguments]
        return f"ds2ta_{kernel}({', '.join(words)});"

    def _conv2d(self, op: ops.Conv2d) -> str:
        height, width, inputs = self.program.layouts[op.inputs[0]].sizes
        shape = self._shape("conv2d", op, (height, width, inputs, op.weight.shape[0], op.weight.shape[1], op.dilation))
        return self._do(f"conv2d_{self._weighted(op)}", self._in(op), shape, self._array(op, "weight"), "row", self._out(op))

    def _window(self, op: ops.TemporalWindow) -> str:
        channels, taps = op.bias.shape[0], op.taps
        bias = self._array(op, "bias")
        if taps == 1:
            return self._do("bias", self._in(op), self._count(op), bias, channels, op.guard_bits, self._out(op))
        frame = self.program.layouts[op.outputs[0]].elements
        shape = self._shape("window", op, (channels, taps, op.decay, op.guard_bits, frame))
        kernel = f"window_{self._state_type(op, 'history')}"
        return self._do(kernel, self._in(op), self._count(op), shape, bias, self._state(op, "history"), self._out(op))

    def _lif(self, op: ops.Lif) -> str:
        name = f"shape_{self.program.number[op.name]}"
        leak = f"{{{op.threshold.shape[0]}u, {op.leak_numerator}, {op.leak_shift}u}}"
        self.shapes.append(f"static const ds2ta_lif_shape {name} = {leak};\n")
        outputs = self._out(op, 1), self._out(op, 0)
        kernel, threshold = f"lif_{self._state_type(op, 'carried')}", self._array(op, "threshold")
        return self._do(kernel, self._in(op), self._count(op), f"&{name}", threshold, self._state(op, "carried"), *outputs)

    def _mul_shape(self, op: ops.Mul) -> str:
        left, right, out = (self.program.layouts[name] for name in (*op.inputs, op.outputs[0]))
        if self.call.by_row:
            return self._shape("mul", op, ((1, 1, out.row), (0, 0, 1), (0, 0, 1)))
        missing = 3 - len(out.order)
        steps = [[0] * missing + [0 if side.sizes[axis] == 1 else side.strides[axis] for axis in out.order] for side in (left, right)]
        return self._shape("mul", op, ([1] * missing + list(out.in_memory), *steps))

    def _sum_sizes(self, op: ops.ReduceSum) -> tuple[int, int, int]:
        layout = self.program.layouts[op.inputs[0]]
        place, sizes = layout.order.index(op.axis - 2), layout.in_memory
        return prod(sizes[:place]), sizes[place], prod(sizes[place + 1 :])

    def _pool_shape(self, op: ops.MaxPool2d) -> str:
        inputs, outputs = self.program.layouts[op.inputs[0]], self.program.layouts[op.outputs[0]]
        rows, columns = op.axis - 2, op.axis - 1
        (other,) = {0, 1, 2} - {rows, columns}
        axes = (rows, columns, other)
        sizes = [inputs.sizes[axis] for axis in axes]
        steps = [[layout.strides[axis] for axis in axes] for layout in (inputs, outputs)]
        return self._shape("pool", op, (op.stride, *sizes, *steps))

    def _matmul(self, op: ops.MatMul) -> str:
        left, right, out = (self.program.layouts[name] for name in (*op.inputs, op.outputs[0]))
        rows, terms = (2, 1) if op.transpose_left else (1, 2)
        middle, columns = (2, 1) if op.transpose_right else (1, 2)
        steps = left.strides[0], left.strides[terms], right.strides[0], right.strides[middle], right.strides[columns]
        shape = self._shape("matmul", op, (out.sizes[0], left.sizes[terms], out.sizes[2], *steps))
        kernel = f"matmul_{self._type(op.inputs[0])}_{self._type(op.inputs[1])}"
        return self._do(kernel, self.place(op.inputs[0], left.strides[rows]), self.place(op.inputs[1], 0), shape, self._out(op))

    def _time_mix(self, op: ops.TimeMix) -> str:
        frame, steps = self.program.layouts[op.outputs[0]].elements, op.matrix.shape[0]
        past = self._state(op, "past") if (op.name, "past") in self.program.memory.state else self._out(op)
        matrix = self._array(op, "matrix")
        return self._do("time_mix", self._in(op), self._count(op), matrix, steps, self.time, past, frame, self._out(op))
