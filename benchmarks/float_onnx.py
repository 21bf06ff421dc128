"""The same network in float32, as an ONNX file that float engines like best: the opponent that ours has to beat fairly.

The weights are the integers of the graph, stored as float32, so the file computes the same network; as long as float32
holds its numbers exactly it computes the same logits. Convolutions are NCHW with bias, time and batch in one axis; linear
layers are one Gemm over all time steps; attention is one batched product; the neuron is unrolled over time and leaks by a
multiplication, because floors are not needed where numbers are real.
"""

from functools import singledispatchmethod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, checker, helper, numpy_helper

from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph

_OPSET, _IR_VERSION = 20, 10


def float_onnx(graph: Graph) -> onnx.ModelProto:
    """Return the float32 network: uint8 input of the graph's shape -> float32 logits ``[B, classes]``.

    Raises:
        NotImplementedError: for an op that spiking transformers of this kind do not have.

    """
    emitter = _Emitter(graph)
    for op in graph:
        emitter.emit(op)
    shape = ["batch" if size is None else size for size in graph.input_type.shape]
    body = helper.make_graph(
        emitter.nodes,
        f"{graph.name}-float32",
        [helper.make_tensor_value_info(graph.input_name, TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info(graph.output, TensorProto.FLOAT, ["batch", graph.types[graph.output].shape[1]])],
        initializer=emitter.constants,
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    checker.check_model(model, full_check=True)
    return model


class _Emitter:
    """Writes the nodes of one op after the other.

    Values with a picture are ``[T B, C, H, W]``, values with tokens ``[T B N, D]``, those with heads ``[H, T B, N, d]``.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._ready: dict[str, str] = {}
        readers = {name: op for op in graph for name in op.inputs}
        # A bias behind a window of one tap belongs to the product that it is added to: Conv and Gemm take it along.
        self._bias = {
            op.outputs[0]: window.bias
            for op in graph
            if isinstance(op, ops.Linear | ops.Conv2d) and isinstance(window := readers[op.outputs[0]], ops.TemporalWindow)
            if window.taps == 1 and window.guard_bits == 0
        }

    def node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        """Append a node of one output; returns its name."""
        name = f"{kind}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def constant(self, array: NDArray[Any] | list[int]) -> str:
        """Store an array, integers of a list as int64; returns its name."""
        name = f"constant.{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def real(self, array: NDArray[Any] | float) -> str:
        """Store float32."""
        return self.constant(np.asarray(array, np.float32))

    def shape(self, value: str, shape: list[int]) -> str:
        """Reshape; one size may be -1."""
        return self.node("Reshape", [value, self.constant(shape)])

    def steps_of(self, name: str) -> int:
        """T of a value of the graph."""
        return self.graph.types[name].shape[0] or 1

    def split(self, value: str, steps: int) -> list[str]:
        """``[T B …]`` in T parts."""
        if steps == 1:
            return [value]
        parts = [f"{value}.{step}" for step in range(steps)]
        self.nodes.append(helper.make_node("Split", [value], parts, axis=0, num_outputs=steps))
        return parts

    def join(self, parts: list[str]) -> str:
        """Put T parts back into one value."""
        return parts[0] if len(parts) == 1 else self.node("Concat", parts, axis=0)

    def channels(self, array: NDArray[Any], name: str) -> str:
        """Store one number a channel, shaped for the value of the graph that it meets."""
        return self.real(array[:, None, None] if len(self.graph.types[name].shape) == 5 else array)

    def emit(self, op: ops.Op) -> None:
        """Write an op."""
        made = self._emit(op, *(self._ready.get(name, name) for name in op.inputs))
        self._ready[op.outputs[0]] = made
        if op.outputs[0] == self.graph.output:
            self.nodes.append(helper.make_node("Identity", [made], [self.graph.output]))

    @singledispatchmethod
    def _emit(self, op: ops.Op, *inputs: str) -> str:
        raise NotImplementedError(f"{type(op).__name__} has no float form here")

    @_emit.register
    def _(self, op: ops.InputTable, pixels: str) -> str:
        channels = op.table.shape[0]
        index = self.node("Cast", [pixels], to=TensorProto.INT32)
        if channels > 1:
            index = self.node("Add", [index, self.constant(np.arange(channels, dtype=np.int32) * 256)])
        values = self.node("Gather", [self.real(op.table.ravel()), index])
        height, width = self.graph.types[op.outputs[0]].shape[2:4]
        return self.node("Transpose", [self.shape(values, [-1, height or 0, width or 0, channels])], perm=[0, 3, 1, 2])

    @_emit.register
    def _(self, op: ops.Conv2d, value: str) -> str:
        weight = self.real(op.weight.transpose(0, 3, 1, 2))
        return self.node("Conv", [value, weight, *self._product_bias(op)], pads=[op.weight.shape[1] // 2] * 4)

    @_emit.register
    def _(self, op: ops.Linear, value: str) -> str:
        return self.node("Gemm", [value, self.real(op.weight.T), *self._product_bias(op)])

    def _product_bias(self, op: ops.Op) -> list[str]:
        return [self.real(self._bias[op.outputs[0]])] if op.outputs[0] in self._bias else []

    @_emit.register
    def _(self, op: ops.TemporalWindow, value: str) -> str:
        """No guard bits: real numbers have fractions. The neuron's threshold is scaled instead."""
        if op.inputs[0] in self._bias:
            return value
        products, currents = self.split(value, self.steps_of(op.inputs[0])), []
        attenuated = [
            [self.node("Mul", [product, self.real(2.0 ** (-op.decay * lag))]) for product in products[:-lag]] if lag else products
            for lag in range(min(op.taps, len(products)))
        ]
        bias = self.channels(op.bias, op.outputs[0]) if op.bias.any() else None
        for step in range(len(products)):
            current = attenuated[0][step] if bias is None else self.node("Add", [attenuated[0][step], bias])
            for lag in range(1, min(op.taps, step + 1)):
                current = self.node("Add", [current, attenuated[lag][step - lag]])
            currents.append(current)
        return self.join(currents)

    @_emit.register
    def _(self, op: ops.Repeat, value: str) -> str:
        return value  # the neuron takes the one current at every step

    @_emit.register
    def _(self, op: ops.Lif, value: str) -> str:
        makers: dict[str, ops.Op] = {name: made for made in self.graph for name in made.outputs}
        source = makers[op.inputs[0]]
        steps = self.steps_of(op.outputs[0])
        repeats = isinstance(source, ops.Repeat)
        window = makers[source.inputs[0]] if repeats else source
        guard = window.guard_bits if isinstance(window, ops.TemporalWindow) else 0
        threshold = self.channels(op.threshold / 2.0**guard, op.outputs[0])
        leak, zero = self.real(op.leak_numerator / 2.0**op.leak_shift), self.real(0.0)
        spikes, membrane = [], ""
        for step, current in enumerate([value] * steps if repeats else self.split(value, steps)):
            membrane = self.node("Add", [membrane, current]) if step else current
            fires = self.node("GreaterOrEqual", [membrane, threshold])
            spikes.append(self.node("Cast", [fires], to=TensorProto.FLOAT))
            if step + 1 < steps:
                membrane = self.node("Where", [fires, zero, self.node("Mul", [membrane, leak])])
        return self.join(spikes)

    @_emit.register
    def _(self, op: ops.MaxPool2d, value: str) -> str:
        return self.node("MaxPool", [value], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])

    @_emit.register
    def _(self, op: ops.Add, left: str, right: str) -> str:
        return self.node("Add", [left, right])

    @_emit.register
    def _(self, op: ops.Tokens, value: str) -> str:
        width = self.graph.types[op.outputs[0]].shape[-1] or 0
        return self.shape(self.node("Transpose", [value], perm=[0, 2, 3, 1]), [-1, width])

    @_emit.register
    def _(self, op: ops.SplitHeads, value: str) -> str:
        _, _, heads, tokens, width = self.graph.types[op.outputs[0]].shape
        return self.node("Transpose", [self.shape(value, [-1, tokens or 0, heads or 0, width or 0])], perm=[2, 0, 1, 3])

    @_emit.register
    def _(self, op: ops.MergeHeads, value: str) -> str:
        width = self.graph.types[op.outputs[0]].shape[-1] or 0
        return self.shape(self.node("Transpose", [value], perm=[1, 2, 0, 3]), [-1, width])

    @_emit.register
    def _(self, op: ops.MatMul, left: str, right: str) -> str:
        if op.transpose_right:
            right = self.node("Transpose", [right], perm=[0, 1, 3, 2])
        return self.node("MatMul", [left, right])

    @_emit.register
    def _(self, op: ops.Lookup, scores: str) -> str:
        heads, tokens = op.table.shape[0], self.graph.types[op.outputs[0]].shape[-1] or 0
        index = self.shape(self.node("Cast", [scores], to=TensorProto.INT32), [heads, -1])
        return self.shape(self.node("GatherElements", [self.real(op.table), index], axis=1), [heads, -1, tokens, tokens])

    @_emit.register
    def _(self, op: ops.Readout, value: str) -> str:
        steps, _, tokens, width = self.graph.types[op.inputs[0]].shape
        merged = self.shape(value, [steps or 0, -1, tokens or 0, width or 0])
        summed = self.node("ReduceSum", [merged, self.constant([0, 2])], keepdims=0)
        return self.node("Gemm", [summed, self.real(op.weight.T), self.real(op.bias)])
