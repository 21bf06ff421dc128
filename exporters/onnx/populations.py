"""Populations and single ops as nodes of the main graph."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.exporters.onnx import bodies, calls, patterns, product_bodies
from ds2ta_deploy.exporters.onnx.about import about
from ds2ta_deploy.exporters.onnx.composition import compose
from ds2ta_deploy.exporters.onnx.functions import DOMAIN, FunctionLibrary
from ds2ta_deploy.exporters.onnx.saturation import require_exact
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.populations import Population
from ds2ta_deploy.graph.products import one_map_plane, split_of
from ds2ta_deploy.step_interface import NEXT, STATE


@dataclass
class Emitter:
    """The main graph so far.

    Attributes:
        graph: what is exported.
        library: the file's functions.
        expose_all: name every output of every population, not only those that others read.
        fuses: whether populations get the fused bodies that fit them.
        caller: says how ops are called; as over all time steps, unless another is given.
        behind: prefix of the names of what is remembered behind the present steps.

    """

    graph: Graph
    library: FunctionLibrary
    expose_all: bool = False
    fuses: bool = True
    caller: calls.Caller | None = None
    behind: str = NEXT
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Open the library to the ops."""
        self._caller = self.caller or calls.Caller(self.graph, self.library)
        self._observable = frozenset(self.graph.observable)

    def emit_all(self, populations: Iterable[Population]) -> None:
        """Append the nodes of many populations; what :meth:`emit` raises is raised of all of them at once."""
        problems: list[Problem] = []
        for population in populations:
            try:
                self.emit(population)
            except UnsupportedError as error:
                problems += error.problems
        if problems:
            raise UnsupportedError(problems)

    def emit(self, population: Population) -> None:
        """Append the node of one population: a fused body where it has one, else its op's own, else one body of calls.

        Raises:
            UnsupportedError: DS2TA-230 for an op without ONNX form, DS2TA-231 for one that would not be exact.

        """
        if not self.fuses:
            self._general(population)
            return
        weighted, attention = patterns.weighted(population), patterns.attention(population)
        if weighted is not None:
            self._weighted(population, weighted)
        elif attention is not None and split_of(self.graph, attention.scoring) == (1, 1):
            self._attention(population, attention)
        else:
            self._general(population)

    def _general(self, population: Population) -> None:
        """Append an op's own function, or one body of calls."""
        if len(population.ops) == 1 and not isinstance(population.ops[0], ops.Lif | ops.TemporalWindow):
            self._single(population, population.ops[0])
        else:
            self._composed(population)

    def append(
        self,
        kind: str,
        name: str,
        inputs: list[str],
        arrays: dict[str, NDArray[Any]],
        outputs: list[str],
        *,
        domain: str = DOMAIN,
        attributes: calls.Attributes | None = None,
        states: Sequence[str] = (),
    ) -> None:
        """Append a node; ``arrays`` become initializers, ``states`` are handed in and out."""
        for key, array in arrays.items():
            self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), key))
        given: dict[str, Any] = {**(attributes or {})}
        read = [*inputs, *arrays, *(f"{STATE}{state}" for state in states)]
        made = [*outputs, *(f"{self.behind}{state}" for state in states)]
        self.nodes.append(helper.make_node(kind, read, made, name=name, domain=domain, **given))

    def _single(self, population: Population, op: ops.Op) -> None:
        call = self._caller.call(op)
        if call is None:
            raise calls.unsupported(population.name, population.ops)
        arrays = {f"{op.name}.{key}": array for key, array in call.arrays.items()}
        states = [f"{op.name}.{role}" for role in call.states]
        inputs, outputs = [*op.inputs, *call.reads], list(op.outputs)
        self.append(call.op_type, population.name, inputs, arrays, outputs, domain=call.domain, attributes=call.attributes, states=states)

    def _composed(self, population: Population) -> None:
        """Name what others read, and what could not be named later: the other outputs are ``<first output's place>.<output>``."""
        made = compose(self._caller, population, self._observable)
        place = next(iter(made.outputs)).rsplit(".", 1)[0]
        read = {*population.outputs, next(iter(made.outputs))}
        hidden = {name for name, formal in made.outputs.items() if name not in read and name == f"{place}.{formal}"}
        shown = [name if self.expose_all or name not in hidden else "" for name in made.outputs]
        inputs = list(population.inputs)
        self.append(made.kind, population.name, inputs, made.arrays, shown, attributes=made.attributes, states=made.states)

    def _fused(
        self, kind: str, population: Population, sources: list[str], arrays: dict[str, NDArray[Any]], values: dict[str, str], **rest: Any
    ) -> None:
        """Append a fused body's call: ``values`` says which value each of its outputs is; the first is the spikes."""
        named = {f"{population.name}.{key}": array for key, array in arrays.items()}
        place = next(iter(values.values())).rsplit(".", 1)[0]
        hidden = [index > 0 and value == f"{place}.{formal}" for index, (formal, value) in enumerate(values.items())]
        shown = [value if self.expose_all or not hides else "" for value, hides in zip(values.values(), hidden, strict=True)]
        self.append(kind, population.name, sources, named, shown, **rest)

    def _weighted(self, population: Population, parts: patterns.Weighted) -> None:
        """Linear or convolution, window or bias, repetition of a still picture, neuron."""
        require_exact(self.graph, parts.synapse)
        split = split_of(self.graph, parts.synapse)
        body = calls.weighted_product(parts.synapse, split)
        window, neuron = self._call(parts.window), self._call(parts.neuron)
        attributes = {**window.attributes, **neuron.attributes}
        body.append(window.line(["product", "bias"], ["current"], _same(window)))
        if parts.repeat is not None:
            attributes |= self._caller.repeats(parts.repeat)
            body += bodies.repeat()
        body.append(neuron.line(["current" if parts.repeat is None else "repeated", "threshold"], ["spikes", "membrane"], _same(neuron)))
        layer = type(parts.synapse).__name__
        name = f"Encoding{layer}" if split != (1, 1) else f"TemporalSpiking{layer}" if parts.window.taps > 1 else f"Spiking{layer}"
        values = {
            "spikes": parts.neuron.outputs[0],
            "membrane": parts.neuron.outputs[1],
            "current": parts.window.outputs[0],
            "product": parts.synapse.outputs[0],
        }
        kinds = [type(parts.synapse), *([ops.TemporalWindow] if window.domain else []), ops.Lif]
        told = about(*kinds, attributes=attributes, fixed=calls.fixed_sizes(parts.synapse))
        kind = self.library.add(name, ["inputs", "weight", "bias", "threshold"], list(values), list(attributes), body, told)
        arrays: dict[str, NDArray[Any]] = {
            "weight": calls.stored_weight(parts.synapse),
            "bias": parts.window.bias,
            "threshold": parts.neuron.threshold,
        }
        self._fused(kind, population, list(parts.synapse.inputs), arrays, values, attributes=attributes)

    def _attention(self, population: Population, parts: patterns.Attention) -> None:
        """Query-key product, table, product with the values, neuron."""
        require_exact(self.graph, parts.mixing)
        lookup = self._caller.lookup(parts.lookup)
        context = product_bodies.attention_context(one_plane=one_map_plane(self.graph))
        body = [line.replace("@Lookup", f"@{lookup}") for line in context]
        neuron = self._call(parts.neuron)
        attributes: calls.Attributes = {**neuron.attributes, "heads": parts.heads}
        if parts.window.guard_bits:
            attributes["guard_multiplier"] = 2**parts.window.guard_bits
            body += [*bodies.scalar("scale", "guard_multiplier"), "current = Mul (context, scale)"]
        else:
            body.append("current = Identity (context)")
        body.append(neuron.line(["current", "threshold"], ["spikes", "membrane"], _same(neuron)))
        (merged,) = (op.outputs[0] for op in population.ops if isinstance(op, ops.MergeHeads))
        values = {
            "spikes": parts.neuron.outputs[0],
            "membrane": parts.neuron.outputs[1],
            "current": parts.window.outputs[0],
            "context": merged,
            "denoised": parts.lookup.outputs[0],
            "scores": parts.scoring.outputs[0],
        }
        inputs = ["q", "k", "v", "table", "threshold"]
        told = about(ops.MatMul, ops.Lookup, ops.Lif, attributes=attributes)
        kind = self.library.add("SpikingAttention", inputs, list(values), list(attributes), body, told)
        arrays: dict[str, NDArray[Any]] = {"table": parts.lookup.table, "threshold": parts.neuron.threshold}
        self._fused(kind, population, list(parts.sources), arrays, values, attributes=attributes)

    def _call(self, op: ops.Op) -> calls.Call:
        call = self._caller.call(op)
        if call is None:
            raise calls.unsupported(op.name, [op])
        return call


def _same(call: calls.Call) -> dict[str, str]:
    """Pass every attribute on under its own name."""
    return {name: name for name in call.attributes}
