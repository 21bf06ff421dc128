"""Every op as a call: of a standard op, or of a function of the file that computes just this op."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.exporters.onnx import bodies, op_bodies, product_bodies
from ds2ta_deploy.exporters.onnx.about import about
from ds2ta_deploy.exporters.onnx.functions import DOMAIN, FunctionLibrary
from ds2ta_deploy.exporters.onnx.saturation import MAX_SHIFT, require_exact, require_shiftable
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.products import Split, one_map_plane, split_of

Attributes = dict[str, int | list[int]]


@dataclass(frozen=True)
class Call:
    """How an op is called.

    Attributes:
        op_type: of the node.
        domain: of the function, or empty for a standard op.
        arrays: constant inputs, behind the op's own, by their names in the function.
        attributes: integers and lists of them.
        reads: values of the clock that the function reads, between the op's inputs and the constants.
        states: what the op remembers, by role: inputs behind the constants, and outputs behind the op's own.

    """

    op_type: str
    domain: str = ""
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    attributes: Attributes = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    states: tuple[str, ...] = ()

    def line(self, inputs: Sequence[str], outputs: Sequence[str], passed: Mapping[str, str]) -> str:
        """Return the call as a line of a body that passes its own attributes on, by these names."""
        given = ", ".join(
            f"{name}: {'int' if isinstance(value, int) else 'ints'} = @{passed[name]}" for name, value in self.attributes.items()
        )
        mark = "@" if self.domain else ""
        return f"{', '.join(outputs)} = {mark}{self.op_type} {f'<{given}> ' if given else ''}({', '.join(inputs)})"


@dataclass(frozen=True)
class Caller:
    """Writes the functions that ops need into the file's library, and says how they are called."""

    graph: Graph
    library: FunctionLibrary

    def call(self, op: ops.Op) -> Call | None:
        """Return the call of an op, or None when it has no ONNX form.

        Raises:
            UnsupportedError: DS2TA-231 for a product that some CPUs would saturate or a shift that int32 has not.

        """
        made: Call | None
        match op:
            case ops.Linear() | ops.Conv2d():
                made = self._weights(op)
            case ops.TemporalWindow():
                made = self._window(op)
            case ops.Lif():
                made = self._lif(op)
            case ops.MatMul():
                made = self._matmul(op)
            case ops.Add() | ops.Mul():
                made = Call(type(op).__name__)
            case ops.Tokens() | ops.Pixels():
                height = [op.height] if isinstance(op, ops.Pixels) else []
                shape = [0, 0, *height, -1, self.graph.types[op.outputs[0]].shape[-1]]
                made = Call("Reshape", arrays={"shape": np.array(shape, np.int64)})
            case ops.InputTable() | ops.Lookup() | ops.Readout() | ops.TimeMix() | ops.Threshold():
                made = self._with_arrays(op)
            case _:
                made = self._plain(op)
        return made

    def remembers(self, op: ops.Op) -> tuple[str, ...]:
        """Return the roles of what an op is given from the steps before: nothing, as these are all the steps there are."""
        return ()

    def reads(self, op: ops.Op) -> tuple[str, ...]:
        """Return the values that tell an op which steps are present: it needs none, as it has all of them."""
        return ()

    def _steps(self, value: str) -> int:
        return self.graph.types[value].shape[0] or 1

    def _function(
        self,
        op: ops.Op,
        name: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        body: Sequence[str],
        *,
        arrays: dict[str, NDArray[Any]] | None = None,
        attributes: Attributes | None = None,
        fixed: str = "",
    ) -> Call:
        """Define the function of one op; its constants are the inputs behind ``inputs``."""
        arrays, attributes, states = arrays or {}, attributes or {}, self.remembers(op)
        reads = self.reads(op)
        told = about(type(op), attributes=attributes, fixed=fixed)
        given, made = [*inputs, *reads, *arrays, *states], [*outputs, *(f"next_{role}" for role in states)]
        kind = self.library.add(f"{'Step' if states or reads else ''}{name}", given, made, list(attributes), body, told)
        return Call(kind, DOMAIN, arrays, attributes, reads, states)

    def _weights(self, op: ops.Linear | ops.Conv2d) -> Call:
        body = weighted_product(op, split_of(self.graph, op))
        require_exact(self.graph, op)
        arrays = {"weight": stored_weight(op)}
        return self._function(op, type(op).__name__, ["inputs"], ["product"], body, arrays=arrays, fixed=fixed_sizes(op))

    def _window(self, window: ops.TemporalWindow) -> Call:
        """A window of one tap without guard bits adds the bias, nothing else."""
        if window.taps == 1 and window.guard_bits == 0:
            return Call("Add", arrays={"bias": window.bias})
        steps, history = self._steps(window.inputs[0]), bool(self.remembers(window))
        taps = window.taps if history else min(window.taps, steps)  # those that the run is long enough to reach
        exponents = [window.guard_bits - window.decay * lag for lag in range(taps)]
        require_shiftable(self.graph, window, exponents)
        attributes: Attributes = {"multipliers": [2 ** max(0, exponent) for exponent in exponents]}
        floors = any(self._drops_bits(op) for op in self.graph if isinstance(op, ops.TemporalWindow))
        if floors:
            attributes["divisors"] = [2 ** min(MAX_SHIFT, max(0, -exponent)) for exponent in exponents]
        body = bodies.temporal_window(steps, taps, floors=floors, history=history)
        arrays = {"bias": window.bias}
        return self._function(window, "TemporalWindow", ["product"], ["current"], body, arrays=arrays, attributes=attributes)

    def _drops_bits(self, window: ops.TemporalWindow) -> bool:
        return window.drops_bits(window.taps if self.remembers(window) else self._steps(window.inputs[0]))

    def _lif(self, neuron: ops.Lif) -> Call:
        numerator = any(op.leak_numerator != 1 for op in self.graph if isinstance(op, ops.Lif))
        attributes: Attributes = {"leak_divisor": 2**neuron.leak_shift}
        if numerator:
            attributes["leak_numerator"] = neuron.leak_numerator
        body = bodies.lif(self._steps(neuron.outputs[0]), numerator=numerator, carried=bool(self.remembers(neuron)))
        arrays = {"threshold": neuron.threshold}
        return self._function(neuron, "Lif", ["current"], ["spikes", "membrane"], body, arrays=arrays, attributes=attributes)

    def _matmul(self, op: ops.MatMul) -> Call:
        require_exact(self.graph, op)
        split = None if self.graph.types[op.inputs[0]].dtype == "int16" else split_of(self.graph, op)
        turned = {"transpose_left": bool(op.transpose_left), "transpose_right": bool(op.transpose_right)}
        body = product_bodies.matmul(split, **turned, one_plane=one_map_plane(self.graph))
        sides = f"{'K^T' if op.transpose_left else 'K'} by {'V^T' if op.transpose_right else 'V'}, left K and right V as they are stored"
        return self._function(op, "HeadMatMul", ["left", "right"], ["product"], body, fixed=f"Here {sides}.")

    def _with_arrays(self, op: ops.InputTable | ops.Lookup | ops.Readout | ops.TimeMix | ops.Threshold) -> Call:
        arrays: dict[str, NDArray[Any]]
        match op:
            case ops.InputTable():
                offsets = np.arange(op.table.shape[0], dtype=np.int32) * op.table.shape[1]
                arrays, body = {"table": op.table.reshape(-1), "offsets": offsets}, bodies.input_table(still=bool(op.still))
                return self._function(op, "InputTable", ["pixels"], ["values"], body, arrays=arrays)
            case ops.Lookup():
                body = [line.replace("@Lookup", f"@{self.lookup(op)}") for line in op_bodies.map_lookup()]
                return self._function(op, "MapLookup", ["scores"], ["denoised"], body, arrays={"table": op.table})
            case ops.Readout():
                require_exact(self.graph, op)
                arrays = {"weight": op.weight.T, "bias": op.bias}
                return self._function(op, "Readout", ["tokens"], ["logits"], bodies.readout(), arrays=arrays)
            case ops.TimeMix():
                shape = self.graph.types[op.inputs[0]].shape
                body = op_bodies.time_mix(len(op.matrix), len(shape))
                return self._function(op, "TimeMix", ["inputs"], ["mixed"], body, arrays={"matrix": op.matrix})
            case ops.Threshold():
                body = op_bodies.threshold(len(self.graph.types[op.inputs[0]].shape))
                return self._function(op, "Threshold", ["inputs"], ["spikes"], body, arrays={"threshold": op.threshold})

    def lookup(self, op: ops.Lookup) -> str:
        """Define the function that looks maps up whose heads come first, and return its name."""
        return self.library.add("Lookup", ["scores", "table"], ["denoised"], [], bodies.lookup(op.table.shape[1]), about(ops.Lookup))

    def repeats(self, op: ops.Repeat) -> Attributes:
        """Return the attribute of a still picture's repetition."""
        return {"repeats": [op.time_steps, *[1] * (len(self.graph.types[op.inputs[0]].shape) - 1)]}

    def _plain(self, op: ops.Op) -> Call | None:
        """Call an op without constants."""
        name, given, returned, attributes, fixed = type(op).__name__, "inputs", "", Attributes(), ""
        match op:
            case ops.MaxPool2d():
                halves_spikes = (op.stride, op.axis, self.graph.types[op.inputs[0]].dtype) == (2, 2, "uint8")
                name, returned, body = (
                    f"{'Spike' if halves_spikes else ''}MaxPool2d",
                    "pooled",
                    bodies.max_pool(stride=op.stride, axis=op.axis),
                )
                fixed = f"Here stride = {op.stride}, along the axes {op.axis} and {op.axis + 1}."
            case ops.Repeat():
                returned, body, attributes = "repeated", bodies.repeat("inputs"), self.repeats(op)
            case ops.SplitHeads():
                returned, body, attributes = "split", op_bodies.split_heads(), Attributes(heads=op.heads)
            case ops.MergeHeads():
                returned, body = "merged", op_bodies.merge_heads()
            case ops.Chunk():
                returned, body, fixed = "chunks", op_bodies.chunk(self._steps(op.inputs[0]), op.steps), f"Here steps = {op.steps}."
            case ops.Unchunk():
                given, returned, fixed = "chunks", "values", f"Here steps = {op.steps}."
                body = op_bodies.unchunk(self._steps(op.inputs[0]), op.steps)
            case ops.ReduceSum():  # not called as the standard op is
                name, returned, body, fixed = "AxisSum", "total", op_bodies.reduce_sum(op.axis), f"Here axis = {op.axis}."
            case _:
                return None
        return self._function(op, name, [given], [returned], body, attributes=attributes, fixed=fixed)


def weighted_product(op: ops.Linear | ops.Conv2d, split: Split) -> list[str]:
    """Return the lines that make ``product`` of ``inputs`` and ``weight``."""
    gather = ["patches = Identity (inputs)"]
    if isinstance(op, ops.Conv2d):  # what is to be cut into planes is gathered as int32: engines pad and slice it anyway
        cast = [] if split[0] == 1 else [f"inputs_32 = Cast <to = {bodies.INT32}> (inputs)"]
        gather = [*cast, *bodies.neighbourhood("inputs_32" if cast else "inputs", op.weight.shape[1], op.dilation)]
    if split == (1, 1):
        return [*gather, "product = MatMulInteger (patches, weight)"]
    return [*gather, *product_bodies.plane_product("patches", "weight", split)]


def stored_weight(op: ops.Linear | ops.Conv2d) -> NDArray[Any]:
    """Return the weights as ``[in, out]``, rows by kernel row, column, channel."""
    return op.weight.reshape(op.weight.shape[0], -1).T


def fixed_sizes(op: ops.Linear | ops.Conv2d) -> str:
    """Say what of a convolution's equation the body fixes."""
    return f"Here k = {op.weight.shape[1]}, r = {op.dilation}." if isinstance(op, ops.Conv2d) else ""


def unsupported(name: str, members: Sequence[ops.Op]) -> UnsupportedError:
    """Say that there is no ONNX form for these ops."""
    kinds = ", ".join(type(op).__name__ for op in members)
    return UnsupportedError(Problem("DS2TA-230", f"there is no ONNX form for the population of {kinds}", name))
