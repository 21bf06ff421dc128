import dataclasses

import msgspec
import numpy as np
import pytest
from builders import trace_of
from support import frozen, replaced, spiking_chain

from ds2ta_deploy.artifact import encode_json
from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.graph.operations import dense_operations
from ds2ta_deploy.graph.populations import group
from ds2ta_deploy.parity import compare_runtimes
from ds2ta_deploy.report import Report, build_report, memory
from ds2ta_deploy.runtimes.reference import ReferenceRuntime


def report_of(graph, inputs):
    others = [ReferenceRuntime(graph)]
    return build_report(graph, compare_runtimes(graph, inputs, ReferenceRuntime(graph), others, graph.observable))


@pytest.fixture(scope="module")
def report(small_graph, small_inputs):
    return report_of(frozen(small_graph), small_inputs)


def population(report, name):
    (entry,) = [entry for entry in report.populations if entry.name == name]
    return entry


def test_a_report_survives_being_written_and_read(report):
    assert msgspec.json.decode(encode_json(report), type=Report) == report


def test_equal_exports_give_equal_reports(report, small_graph, small_inputs):
    assert encode_json(report_of(frozen(small_graph), small_inputs)) == encode_json(report)


def test_every_population_is_described_in_order(report, small_graph):
    assert [(entry.name, entry.kind) for entry in report.populations] == [(entry.name, entry.kind) for entry in group(small_graph)]


def test_a_population_is_described_by_what_its_ops_hold(report, small_graph):
    entry = population(report, "blocks.0.attn.k")
    by_name = {op.name: op for op in small_graph}
    weight, threshold = by_name["blocks.0.attn.k.weights"].weight, by_name["blocks.0.attn.k"].threshold
    assert entry.ops == ("Linear", "TemporalWindow", "Lif")
    assert (entry.shape, entry.weight_shape) == ((4, None, 12, 8), (8, 8))
    assert entry.weight_range == (weight.min(), weight.max())
    assert entry.threshold_range == (threshold.min(), threshold.max())
    assert (entry.taps, entry.decay, entry.guard_bits, entry.window_exact) == (3, 2, 1, False)
    assert (entry.leak, entry.leak_exact) == ((1, 1), True)
    assert entry.table_range is None


def test_what_does_not_apply_is_left_out(report):
    pooled = msgspec.to_builtins(population(report, "patch.stages.0.pool"))
    assert pooled == {"name": "patch.stages.0.pool", "kind": "Single", "ops": ("MaxPool2d",), "shape": (4, None, 4, 3, 8)}
    assert msgspec.to_builtins(population(report, "blocks.0.mlp.fc1")).keys() == {
        "name", "kind", "ops", "shape", "weight_shape", "weight_range", "threshold_range", "leak", "leak_exact"
    }  # fmt: skip


def test_attention_shows_its_table_and_inexact_leaks_are_marked(report):
    entry = population(report, "blocks.0.attn")
    assert (entry.table_range, entry.table_entries) == ((-3, 6), 5)
    fc1 = population(report, "blocks.0.mlp.fc1")
    assert (fc1.leak, fc1.leak_exact) == ((3, 2), False)


@pytest.mark.parametrize(
    ("steps", "window", "exact"),
    [(4, (3, 2, 4), True), (4, (3, 2, 3), False), (4, (2, 3, 2), False), (2, (3, 2, 2), True), (2, (3, 2, 1), False), (1, (3, 4, 0), True)],
)
def test_a_window_is_exact_when_no_bit_is_dropped_in_the_steps_there_are(steps, window, exact):
    graph, inputs = spiking_chain(steps, window=window)
    assert population(report_of(graph, inputs), "linear").window_exact is exact


# --- memory and operations -------------------------------------------------------------------------------------------


def test_memory_is_the_bytes_of_what_is_stored(report, small_graph):
    arrays = {
        name: [getattr(op, name) for op in small_graph if hasattr(op, name)] for name in ("weight", "bias", "threshold", "table", "matrix")
    }
    assert report.memory == {name: sum(array.nbytes for array in held) for name, held in arrays.items()}
    assert memory(small_graph) == report.memory
    # 2 -> 8 channels of int16; 8 -> 8 twice of 3x3; q, k, v, proj; two MLP layers; the head: all int8
    assert report.memory["weight"] == 2 * 8 * 9 * 2 + 8 * 8 * 9 + 4 * 8 * 8 + 2 * 8 * 16 + 3 * 8


def test_dense_operations_are_what_plain_loops_would_do(small_graph):
    by_name = {op.name: op for op in small_graph}
    # the still picture goes through the first convolution once, everything else T = 4 times
    assert dense_operations(small_graph, by_name["patch.stages.0.weights"]) == 1 * 7 * 5 * 8 * (9 * 2)
    assert dense_operations(small_graph, by_name["patch.position.weights"]) == 4 * 4 * 3 * 8 * (9 * 8)
    assert dense_operations(small_graph, by_name["blocks.0.mlp.fc1.weights"]) == 4 * 12 * 16 * 8
    assert dense_operations(small_graph, by_name["blocks.0.attn.query_key"]) == 4 * 2 * 12 * 12 * 4
    assert dense_operations(small_graph, by_name["blocks.0.attn.map_value"]) == 4 * 2 * 12 * 4 * 12
    assert dense_operations(small_graph, by_name["head"]) == 3 * 8 * 4 * 12
    assert dense_operations(small_graph, by_name["patch.residual.add"]) == 0


def test_dense_operations_of_a_stream(stream_graph):
    by_name = {op.name: op for op in stream_graph}
    assert dense_operations(stream_graph, by_name["blocks.1.attn.key_value"]) == 2 * 2 * 4 * 4 * 24  # chunks of 24
    assert dense_operations(stream_graph, by_name["blocks.1.attn.query_state"]) == 2 * 2 * 24 * 4 * 4
    assert dense_operations(stream_graph, by_name["blocks.0.attn.key_value"]) == 4 * 12 * 8
    assert dense_operations(stream_graph, by_name["blocks.2.attn.mix"]) == (1 + 2 + 3 + 4) * 2 * 12
    assert dense_operations(stream_graph, by_name["patch.position.weights"]) == 4 * 4 * 3 * 8 * (9 * 8)
    assert dense_operations(stream_graph, by_name["head.sum"]) == 0


def test_the_populations_of_a_stream_are_described(stream_graph, small_inputs):
    report = report_of(frozen(stream_graph), small_inputs)
    assert (population(report, "patch.position").dilation, population(report, "patch.stages.1").dilation) == (2, None)
    assert population(report, "patch.position").kind == "Synapses"
    attention = population(report, "blocks.1.attn")
    assert (attention.chunk_steps, attention.table_range, attention.leak) == (2, None, (1, 1))
    matrix = next(op.matrix for op in stream_graph if op.name == "blocks.2.attn.mix")
    assert population(report, "blocks.2.attn.mix").matrix_range == (matrix.min(), matrix.max())
    threshold = next(op.threshold for op in stream_graph if op.name == "blocks.2.attn.saccade")
    assert population(report, "blocks.2.attn.saccade").threshold_range == (threshold.min(), threshold.max())
    assert "blocks.2.attn.saccade.spikes" in report.firing_rates
    assert report.memory["matrix"] == matrix.nbytes
    assert report.beyond_float32 == ()


def test_the_total_is_the_sum(report, small_graph):
    assert report.dense_operations == sum(dense_operations(small_graph, op) for op in small_graph)


# --- ranges, rates, parity -------------------------------------------------------------------------------------------


def test_the_proved_ranges_hold_what_was_seen(report, small_graph, small_inputs):
    trace = trace_of(small_graph, small_inputs)
    assert set(trace) < set(report.ranges)
    for name, value in trace.items():
        entry = report.ranges[name]
        assert entry.low <= value.min() <= value.max() <= entry.high
        assert entry.bits <= entry.limit
        assert -(2 ** (entry.bits - 1)) <= entry.low <= entry.high < 2 ** (entry.bits - 1)


def test_rates_and_parity_are_those_of_the_comparison(small_graph, small_inputs):
    graph = frozen(small_graph)
    compared = compare_runtimes(graph, small_inputs, ReferenceRuntime(graph), [ReferenceRuntime(graph)], graph.observable)
    report = build_report(graph, compared)
    trace = trace_of(graph, small_inputs)
    assert report.firing_rates == {name: round(float(value.mean()), 6) for name, value in trace.items() if name.endswith(".spikes")}
    assert report.silent == ()
    assert report.parity == compared.entries()


def test_silent_layers_are_named(small_graph, small_inputs):
    graph = replaced(frozen(small_graph), "blocks.0.mlp.fc2", threshold=np.full(8, 2**30, np.int32))
    assert report_of(graph, small_inputs).silent == ("blocks.0.mlp.fc2.spikes",)


def test_values_beyond_what_float32_holds_are_named(small_graph, small_inputs, report):
    assert report.beyond_float32 == ()
    graph = replaced(frozen(small_graph), "blocks.0.attn.proj.window", guard_bits=15)
    assert "blocks.0.attn.proj.current" in report_of(graph, small_inputs).beyond_float32


def test_a_graph_that_says_no_profile_is_a_cpu_graph(small_graph, small_inputs, report):
    assert "profile" not in small_graph.facts
    assert report_of(small_graph, small_inputs).ranges == report.ranges


def test_a_profile_that_nobody_knows_is_refused(small_graph, small_inputs):
    graph = dataclasses.replace(small_graph, facts={"profile": "tpu"})
    with pytest.raises(UnsupportedError, match="DS2TA-212"):
        report_of(graph, small_inputs)
