"""Populations and single ops as nodes of the main graph, each calling a function of the file."""

import inspect
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.exporters.onnx import bodies, patterns
from ds2ta_deploy.exporters.onnx.functions import DOMAIN, FunctionLibrary
from ds2ta_deploy.exporters.onnx.saturation import MAX_SHIFT, require_exact_attention, require_exact_product, require_shiftable
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.populations import Population
from ds2ta_deploy.graph.products import is_wide, one_map_plane

#: What a function's attributes hold, next to the names that the ops' equations use.
_ATTRIBUTES = {
    "leak_divisor": "2^leak_shift",
    "leak_numerator": "the leak's numerator",
    "multipliers": "2^max(0, g - tau m) for every lag m",
    "divisors": "2^max(0, tau m - g) for every lag m",
    "guard_multiplier": "2^g",
    "heads": "number of heads",
}

#: Docstring markup: roles and code quotes.
_MARKUP = re.compile(r":[a-z]+:`([^`]*)`|``")

#: Optimisation level at which Python drops docstrings; the file would have other bytes.
_STRIPS_DOCSTRINGS = 2


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

    def _lif(self, neuron: ops.Lif, current: str) -> tuple[list[str], dict[str, int]]:
        """Return the call of the file's Lif from inside a body, and the attributes that the body passes on."""
        numerator = any(op.leak_numerator != 1 for op in self.graph if isinstance(op, ops.Lif))
        attributes = {"leak_divisor": 2**neuron.leak_shift}
        if numerator:
            attributes["leak_numerator"] = neuron.leak_numerator
        steps = self._steps(neuron.outputs[0])
        body = bodies.lif(steps, numerator=numerator)
        name = self.library.add(
            "Lif", ["current", "threshold"], ["spikes", "membrane"], list(attributes), body, _about(ops.Lif, attributes=attributes)
        )
        passed = ", ".join(f"{key}: int = @{key}" for key in attributes)
        return [f"spikes, membrane = @{name} <{passed}> ({current}, threshold)"], attributes

    def _steps(self, value: str) -> int:
        return self.graph.types[value].shape[0] or 1

    def _weighted(self, population: Population) -> None:
        """Linear or convolution, window or bias, repetition of a still picture, neuron."""
        parts = patterns.weighted(population)
        require_exact_product(self.graph, parts.synapse)
        wide = is_wide(self.graph, parts.synapse)
        body = self._product(parts.synapse, wide=wide)
        windowed, attributes = self._window(parts.window)
        lif_call, lif_attributes = self._lif(parts.neuron, "repeated" if parts.repeats else "current")
        body += windowed
        if parts.repeats:
            body.append(bodies.join_time("repeated", ["current"] * self._steps(parts.neuron.outputs[0])))
        windowed_by_name = bool(attributes)
        attributes |= lif_attributes
        layer = population.kind.removeprefix("Spiking")
        name = f"Encoding{layer}" if wide else f"TemporalSpiking{layer}" if parts.window.taps > 1 else f"Spiking{layer}"
        outputs = ["spikes", "membrane", "current", "product"]
        kind = self.library.add(
            name,
            ["inputs", "weight", "bias", "threshold"],
            outputs,
            list(attributes),
            body + lif_call,
            _about(type(parts.synapse), *([ops.TemporalWindow] if windowed_by_name else []), ops.Lif, attributes=attributes),
        )
        flat = parts.synapse.weight.reshape(parts.synapse.weight.shape[0], -1).T
        arrays: dict[str, NDArray[Any]] = {"weight": flat, "bias": parts.window.bias, "threshold": parts.neuron.threshold}
        self._call_population(kind, population.name, list(parts.synapse.inputs), arrays, outputs, attributes)

    @staticmethod
    def _product(synapse: ops.Linear | ops.Conv2d, *, wide: bool) -> list[str]:
        """Return the lines that make ``product`` of ``inputs`` and ``weight``."""
        source = "inputs_32" if wide else "inputs"
        cast = [f"inputs_32 = Cast <to = {bodies.INT32}> (inputs)"] if wide else []
        gather = [f"patches = Identity ({source})"]
        if isinstance(synapse, ops.Conv2d):
            gather = bodies.neighbourhood(source, synapse.weight.shape[1])
        return [*cast, *gather, *(bodies.wide_product() if wide else ["product = MatMulInteger (patches, weight)"])]

    def _window(self, window: ops.TemporalWindow) -> tuple[list[str], dict[str, Any]]:
        """Return the lines that make ``current`` of ``product`` and ``bias``, and their attributes."""
        if window.taps == 1 and window.guard_bits == 0:
            return ["current = Add (product, bias)"], {}
        taps = self._taps(window)
        exponents = [window.guard_bits - window.decay * lag for lag in range(taps)]
        require_shiftable(self.graph, window, exponents)
        attributes: dict[str, Any] = {"multipliers": [2 ** max(0, exponent) for exponent in exponents]}
        floors = any(op.drops_bits(self._steps(op.inputs[0])) for op in self.graph if isinstance(op, ops.TemporalWindow))
        if floors:
            attributes["divisors"] = [2 ** min(MAX_SHIFT, max(0, -exponent)) for exponent in exponents]
        body = bodies.temporal_window(self._steps(window.inputs[0]), taps, floors=floors)
        name = self.library.add(
            "TemporalWindow", ["product", "bias"], ["current"], list(attributes), body, _about(ops.TemporalWindow, attributes=attributes)
        )
        passed = ", ".join(f"{key}: ints = @{key}" for key in attributes)
        return [f"current = @{name} <{passed}> (product, bias)"], attributes

    def _taps(self, window: ops.TemporalWindow) -> int:
        """Taps that the run is long enough to reach."""
        return min(window.taps, self._steps(window.inputs[0]))

    def _attention(self, population: Population) -> None:
        """Query-key product, table, product with the values, neuron."""
        parts = patterns.attention(population)
        require_exact_attention(self.graph, population.name, parts)
        entries = parts.lookup.table.shape[1]
        lookup = self.library.add("Lookup", ["scores", "table"], ["denoised"], [], bodies.lookup(entries), _about(ops.Lookup))
        body = [line.replace("@Lookup", f"@{lookup}") for line in bodies.attention_context(one_plane=one_map_plane(self.graph))]
        lif_call, attributes = self._lif(parts.neuron, "current")
        attributes["heads"] = parts.heads
        if parts.window.guard_bits:
            attributes["guard_multiplier"] = 2**parts.window.guard_bits
            body += [*bodies.scalar("scale", "guard_multiplier"), "current = Mul (context, scale)"]
        else:
            body.append("current = Identity (context)")
        outputs = ["spikes", "membrane", "current", "context", "denoised", "scores"]
        inputs = ["q", "k", "v", "table", "threshold"]
        about = _about(ops.MatMul, ops.Lookup, ops.Lif, attributes=attributes)
        kind = self.library.add("SpikingAttention", inputs, outputs, list(attributes), body + lif_call, about)
        arrays: dict[str, NDArray[Any]] = {"table": parts.lookup.table, "threshold": parts.neuron.threshold}
        self._call_population(kind, population.name, list(parts.sources), arrays, outputs, attributes)

    def _call_population(
        self, kind: str, name: str, sources: list[str], arrays: dict[str, NDArray[Any]], outputs: list[str], attributes: dict[str, Any]
    ) -> None:
        """Append a call whose arrays are initializers ``<population>.<array>`` and whose outputs are ``<population>.<output>``."""
        constants = [self._constant(f"{name}.{key}", array) for key, array in arrays.items()]
        self._call(kind, name, [*sources, *constants], [f"{name}.{output}" for output in outputs], **attributes)

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
                require_exact_product(self.graph, op)
                kind = self.library.add("Readout", ["tokens", "weight", "bias"], ["logits"], [], bodies.readout(), _about(ops.Readout))
                constants = [self._constant(f"{op.name}.weight", op.weight.T), self._constant(f"{op.name}.bias", op.bias)]
                self._call(kind, op.name, [op.inputs[0], *constants], list(op.outputs))
            case _:
                raise patterns.unsupported(population)


def _about(*kinds: type[ops.Op], attributes: Iterable[str] = ()) -> str:
    """What each op computes, in the words of its class, and what the attributes hold: shown by viewers of the file."""
    meanings = [_meaning(kind) for kind in kinds]
    return "\n\n".join([*meanings, *(f"{name}: {_ATTRIBUTES[name]}." for name in attributes)])


def _meaning(kind: type[ops.Op]) -> str:
    """Return the paragraphs of a class's docstring that precede its sections, as plain text."""
    if sys.flags.optimize >= _STRIPS_DOCSTRINGS:
        raise UnsupportedError(Problem("DS2TA-232", "python -OO strips the texts that the file carries", mend="run without it"))
    paragraphs = inspect.cleandoc(kind.__doc__ or "").split("\n\n")
    told = "\n".join(takewhile(lambda paragraph: not paragraph.startswith(("Attributes:", "Shapes:")), paragraphs))
    plain = _MARKUP.sub(r"\1", told)
    return f"{kind.__name__}. {plain}"
