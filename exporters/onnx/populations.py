"""Populations and single ops as nodes of the main graph, each calling a function of the file."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.exporters.onnx import bodies
from ds2ta_deploy.exporters.onnx.functions import DOMAIN, FunctionLibrary
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.populations import Population

#: Largest magnitude of a pair of uint8 x int8 products that 16-bit kernels add without saturating.
_PAIR_LIMIT = 2**15 - 1


@dataclass
class Emitter:
    """The main graph so far.

    Attributes:
        graph: what is exported.
        library: the file's functions.
        expose_all: name every output of every population, not only the spikes.

    """

    graph: Graph
    library: FunctionLibrary
    expose_all: bool = False
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def emit(self, population: Population) -> None:
        """Append the node of one population."""
        emitters: dict[str, Callable[[Population], None]] = {
            "SpikingAttention": self._attention,
            "SpikingConv2d": self._weighted,
            "SpikingLinear": self._weighted,
            "Single": self._single,
        }
        emitters[population.kind](population)

    def _constant(self, name: str, array: NDArray[Any]) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _call(self, op_type: str, name: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        """Append a call; only the first output is named unless all are exposed."""
        shown = outputs if self.expose_all else [outputs[0], *[""] * (len(outputs) - 1)]
        self.nodes.append(helper.make_node(op_type, inputs, shown, name=name, domain=DOMAIN, **attributes))

    def _lif(self, neuron: ops.Lif) -> tuple[list[str], dict[str, int]]:
        """Return the call of the file's Lif from inside a body, and the attributes that the body passes on."""
        numerator = any(op.leak_numerator != 1 for op in self.graph if isinstance(op, ops.Lif))
        attributes = {"leak_divisor": 2**neuron.leak_shift}
        if numerator:
            attributes["leak_numerator"] = neuron.leak_numerator
        steps = self._steps(neuron.outputs[0])
        body = bodies.lif(steps, numerator=numerator)
        name = self.library.add("Lif", ["current", "threshold"], ["spikes", "membrane"], list(attributes), body, _about(ops.Lif))
        passed = ", ".join(f"{key}: int = @{key}" for key in attributes)
        return [f"spikes, membrane = @{name} <{passed}> (current, threshold)"], attributes

    def _steps(self, value: str) -> int:
        return self.graph.types[value].shape[0] or 1

    def _weighted(self, population: Population) -> None:
        """Linear or convolution, window or bias, repetition of a still picture, neuron."""
        synapse, *inner, neuron = population.ops
        window = inner[0]
        if (
            not isinstance(synapse, ops.Linear | ops.Conv2d)
            or not isinstance(window, ops.TemporalWindow)
            or not isinstance(neuron, ops.Lif)
            or len(inner) > 2
        ):
            raise _unsupported(population)
        self._require_no_saturation(synapse)
        wide = synapse.weight.dtype == np.int16
        body = (
            ["patches = Identity (inputs)"] if isinstance(synapse, ops.Linear) else bodies.neighbourhood("inputs", synapse.weight.shape[1])
        )
        if wide:
            body = [
                f"inputs_32 = Cast <to = {bodies.INT32}> (inputs)",
                *(line.replace("(inputs", "(inputs_32") for line in body),
                *bodies.wide_product(),
            ]
        else:
            body = [*body, "product = MatMulInteger (patches, weight)"]
        windowed, attributes = self._window(window)
        body += windowed
        lif_call, lif_attributes = self._lif(neuron)
        if len(inner) == 2:
            steps = self._steps(neuron.outputs[0])
            body += [bodies.join_time("repeated", ["current"] * steps)]
            lif_call = [lif_call[0].replace("(current,", "(repeated,")]
        name = ("Encoding" if wide else "Temporal" if window.taps > 1 else "") + population.kind
        outputs = ["spikes", "membrane", "current", "product"]
        attributes |= lif_attributes
        kind = self.library.add(
            name.replace("EncodingSpiking", "Encoding"),
            ["inputs", "weight", "bias", "threshold"],
            outputs,
            list(attributes),
            body + lif_call,
            _about(type(synapse), ops.TemporalWindow, ops.Lif),
        )
        flat = synapse.weight.reshape(synapse.weight.shape[0], -1).T
        constants = [
            self._constant(f"{population.name}.{key}", array)
            for key, array in (("weight", flat), ("bias", window.bias), ("threshold", neuron.threshold))
        ]
        self._call(
            kind, population.name, [population.inputs[0], *constants], [f"{population.name}.{output}" for output in outputs], **attributes
        )

    def _window(self, window: ops.TemporalWindow) -> tuple[list[str], dict[str, Any]]:
        """Return the lines that make ``current`` of ``product`` and ``bias``, and their attributes."""
        if window.taps == 1 and window.guard_bits == 0:
            return ["current = Add (product, bias)"], {}
        exponents = [window.guard_bits - window.decay * lag for lag in range(window.taps)]
        attributes: dict[str, Any] = {"multipliers": [2 ** max(0, exponent) for exponent in exponents]}
        floors = any(self._drops_bits(op) for op in self.graph if isinstance(op, ops.TemporalWindow))
        if floors:
            attributes["divisors"] = [2 ** max(0, -exponent) for exponent in exponents]
        body = bodies.temporal_window(self._steps(window.inputs[0]), window.taps, floors=floors)
        name = self.library.add("TemporalWindow", ["product", "bias"], ["current"], list(attributes), body, _about(ops.TemporalWindow))
        passed = ", ".join(f"{key}: ints = @{key}" for key in attributes)
        return [f"current = @{name} <{passed}> (product, bias)"], attributes

    @staticmethod
    def _drops_bits(window: ops.TemporalWindow) -> bool:
        return window.guard_bits < window.decay * (window.taps - 1)

    def _attention(self, population: Population) -> None:
        by_kind = {type(op): op for op in population.ops}
        lookup, window, neuron = by_kind.get(ops.Lookup), by_kind.get(ops.TemporalWindow), by_kind.get(ops.Lif)
        splits = [op for op in population.ops if isinstance(op, ops.SplitHeads)]
        products = [op for op in population.ops if isinstance(op, ops.MatMul)]
        shaped = len(splits) == 3 and [op.transpose_right for op in products] == [1, 0] and len(population.ops) == 9
        if (
            not isinstance(lookup, ops.Lookup)
            or not isinstance(window, ops.TemporalWindow)
            or not isinstance(neuron, ops.Lif)
            or not shaped
        ):
            raise _unsupported(population)
        if window.taps != 1 or window.bias.any():
            raise _unsupported(population)
        low, high = self._table_range()
        lookup_name = self.library.add(
            "Lookup", ["scores", "table"], ["denoised"], [], bodies.lookup(lookup.table.shape[1]), _about(ops.Lookup)
        )
        body = [line.replace("@Lookup", f"@{lookup_name}") for line in bodies.attention_context(low, high)]
        body += (
            [*bodies.scalar("scale", "guard_multiplier"), "current = Mul (context, scale)"]
            if window.guard_bits
            else ["current = Identity (context)"]
        )
        lif_call, attributes = self._lif(neuron)
        attributes |= {"heads": splits[0].heads}
        if window.guard_bits:
            attributes["guard_multiplier"] = 2**window.guard_bits
        outputs = ["spikes", "membrane", "current", "context", "denoised", "scores"]
        kind = self.library.add(
            "SpikingAttention",
            ["q", "k", "v", "table", "threshold"],
            outputs,
            list(attributes),
            body + lif_call,
            _about(ops.MatMul, ops.Lookup, ops.Lif),
        )
        query, key = products[0].inputs
        of_split = {op.outputs[0]: op.inputs[0] for op in splits}
        sources = [of_split[query], of_split[key], of_split[products[1].inputs[1]]]
        constants = [
            self._constant(f"{population.name}.{key}", array) for key, array in (("table", lookup.table), ("threshold", neuron.threshold))
        ]
        self._call(kind, population.name, [*sources, *constants], [f"{population.name}.{output}" for output in outputs], **attributes)

    def _table_range(self) -> tuple[int, int]:
        """Proven range of all table entries of the file, so that one body serves every block."""
        ranges = [self.graph.ranges[op.outputs[0]] for op in self.graph if isinstance(op, ops.Lookup)]
        return min(interval.minimum for interval in ranges), max(interval.maximum for interval in ranges)

    def _single(self, population: Population) -> None:
        (op,) = population.ops
        match op:
            case ops.Add():
                self.nodes.append(helper.make_node("Add", list(op.inputs), list(op.outputs), name=op.name))
            case ops.Tokens():
                channels = self.graph.types[op.outputs[0]].shape[-1]
                shape = self._constant(f"{op.name}.shape", np.array([0, 0, -1, channels], np.int64))
                self.nodes.append(helper.make_node("Reshape", [op.inputs[0], shape], list(op.outputs), name=op.name))
            case ops.MaxPool2d():
                kind = self.library.add("SpikeMaxPool2d", ["spikes"], ["pooled"], [], bodies.spike_max_pool(), _about(ops.MaxPool2d))
                self._call(kind, op.name, list(op.inputs), list(op.outputs))
            case ops.InputTable():
                kind = self.library.add(
                    "InputTable",
                    ["pixels", "table", "offsets"],
                    ["values"],
                    [],
                    bodies.input_table(still=bool(op.still)),
                    _about(ops.InputTable),
                )
                table = self._constant(f"{op.name}.table", op.table.reshape(-1))
                offsets = self._constant(f"{op.name}.offsets", np.arange(op.table.shape[0], dtype=np.int32) * op.table.shape[1])
                self._call(kind, op.name, [op.inputs[0], table, offsets], list(op.outputs))
            case ops.Readout():
                self._require_no_saturation(op)
                kind = self.library.add("Readout", ["tokens", "weight", "bias"], ["logits"], [], bodies.readout(), _about(ops.Readout))
                constants = [self._constant(f"{op.name}.weight", op.weight.T), self._constant(f"{op.name}.bias", op.bias)]
                self._call(kind, op.name, [op.inputs[0], *constants], list(op.outputs))
            case _:
                raise _unsupported(population)

    def _require_no_saturation(self, op: ops.Linear | ops.Conv2d | ops.Readout) -> None:
        """u8 x s8 kernels without VNNI add two products in 16 bits: refuse what could saturate there."""
        interval, wide = self.graph.ranges[op.inputs[0]], op.weight.dtype == np.int16
        if wide:
            limit = 2 ** (2 * bodies.PLANE_BITS - 1)
            if max(-interval.minimum, interval.maximum, int(np.abs(op.weight).max(initial=0))) >= limit:
                raise UnsupportedError(
                    Problem(
                        "DS2TA-231",
                        f"first-layer values reach {limit}, its two {bodies.PLANE_BITS}-bit planes cannot hold them",
                        op.name,
                        "use fewer first-layer bits",
                    )
                )
        elif interval.minimum < 0 or 2 * interval.maximum * int(np.abs(op.weight.astype(np.int64)).max(initial=0)) > _PAIR_LIMIT:
            raise UnsupportedError(
                Problem(
                    "DS2TA-231",
                    f"inputs in [{interval.minimum}, {interval.maximum}] could saturate 16-bit pairs of products",
                    op.name,
                    "use fewer weight bits for this layer",
                )
            )


def _about(*kinds: type[ops.Op]) -> str:
    """First sentence of each op's docstring: its equation, for viewers of the file."""
    return " Then: ".join((kind.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " ") for kind in kinds)


def _unsupported(population: Population) -> UnsupportedError:
    kinds = ", ".join(type(op).__name__ for op in population.ops)
    return UnsupportedError(Problem("DS2TA-230", f"there is no ONNX form for the population of {kinds}", population.name))
