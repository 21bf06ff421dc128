"""The first integer that differs in networks of streams, chunks and saccades: the op at fault, whatever it is."""

import dataclasses

import numpy as np
import pytest
from builders import small_inputs, trace_of
from compositions import build
from stream_graph import CHUNKED
from support import frozen, one_more

from ds2ta_deploy.bisection.finding import explain
from ds2ta_deploy.bisection.search import search
from ds2ta_deploy.bisection.sides import Side
from ds2ta_deploy.exporters.onnx import to_onnx
from ds2ta_deploy.graph.fragment import from_bytes, to_bytes
from ds2ta_deploy.runtimes.onnx_reference import OnnxReferenceRuntime
from ds2ta_deploy.runtimes.ort import OnnxRuntime
from ds2ta_deploy.runtimes.reference import ReferenceRuntime


def side(runtime, graph):
    return Side(runtime.name, lambda _start, batch: runtime.trace(batch, graph.observable), runtime)


def found_in(graph, inputs, faulty):
    """Bisect the graph's reference and another runtime, and explain what is found."""
    result = search(graph, inputs, side(ReferenceRuntime(graph), graph), [side(faulty, graph)])
    assert result.located is not None
    return explain(graph, result.located)


class Late(ReferenceRuntime):
    """The reference, but one value has one integer changed in one step, and all that follows is computed of that."""

    def __init__(self, graph, op, place):
        self.graph, self.op, self.place = graph, op, place

    def trace(self, inputs, wanted):
        changed = dataclasses.replace(self.graph, ops=tuple(self._spoilt(op) for op in self.graph))
        return {name: value for name, value in trace_of(changed, inputs).items() if name in wanted}

    def _spoilt(self, op):
        if op.name != self.op:
            return op
        place = self.place

        class Spoilt(type(op)):
            def execute(self, *inputs):
                first, *others = super().execute(*inputs)
                first[place[: first.ndim]] += 1 if first.max() > 1 else 1 - 2 * first[place[: first.ndim]]
                return (first, *others)

        return Spoilt(**{field.name: getattr(op, field.name) for field in dataclasses.fields(op)})


@pytest.mark.parametrize(
    "op",
    [
        f"{CHUNKED}.q",
        f"{CHUNKED}.k",
        f"{CHUNKED}.key_value",
        f"{CHUNKED}",
        f"{CHUNKED}.proj.weights",
        "blocks.0.attn.key_value_sum",
        "blocks.0.attn.mask",
        "blocks.2.attn.mix",
        "blocks.2.attn.saccade",
        "blocks.3.attn.query_key",
        "patch.stages.1.pool",
        "head.sum",
    ],
)
@pytest.mark.parametrize("step", [0, 1])
def test_the_op_at_fault_is_found_in_whichever_step_of_a_chunk_it_fails(stream_graph, op, step):
    finding = found_in(stream_graph, small_inputs(), Late(stream_graph, op, (step, 0, 0, 0, 0)))
    assert op in {part.name for part in finding.fragment.ops}
    assert finding.divergence.step == step
    assert finding.is_first_cause
    assert finding.own.at_place == finding.divergence.expected
    assert from_bytes(to_bytes(finding.fragment)).value == finding.divergence.value


@pytest.mark.parametrize("runtime", [OnnxRuntime, OnnxReferenceRuntime])
@pytest.mark.parametrize(
    ("array", "index", "ops"),
    [
        ("blocks.1.attn.k.bias", 3, {"blocks.1.attn.k.window"}),
        ("blocks.2.attn.mix.matrix", 0, {"blocks.2.attn.mix"}),
        ("blocks.0.attn.proj.weight", 5, {"blocks.0.attn.proj.weights"}),
        ("patch.position.weight", 70, {"patch.position.weights"}),
    ],
)
def test_a_changed_integer_of_an_onnx_file_replays_alone(stream_graph, runtime, array, index, ops):
    graph = frozen(stream_graph)
    broken = runtime(one_more(to_onnx(graph).SerializeToString(), array, index), graph)
    finding = found_in(graph, small_inputs(), broken)
    assert ops <= {op.name for op in finding.fragment.ops}
    assert finding.is_first_cause
    part = broken.isolate(finding.divergence.value, finding.given)
    alone = type(broken).run_part(part.data, {name: finding.given[name] for name in part.reads}, finding.divergence.value)
    assert alone[finding.place] == finding.divergence.found != finding.own.at_place == finding.divergence.expected


@pytest.mark.parametrize("name", ["linear attention", "squared state", "denoised chunks", "two kernels", "pooled scores"])
def test_every_value_of_a_composition_can_be_cut_out_of_its_file(name):
    graph, inputs = build(name)
    expected = trace_of(graph, inputs)
    opened = OnnxRuntime(to_onnx(graph).SerializeToString(), graph)
    for value in graph.observable:
        part = opened.isolate(value, graph.observable)
        given = {read: inputs if read == graph.input_name else expected[read] for read in part.reads}
        assert np.array_equal(OnnxRuntime.run_part(part.data, given, value), expected[value]), value
