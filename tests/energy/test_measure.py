import numpy as np
import pytest
from builders import assert_fires, trace_of

from ds2ta_deploy.energy import measure
from ds2ta_deploy.energy.constants import CONSTANTS, FLOAT, INTEGER
from ds2ta_deploy.energy.measure import energy_pj, measure_energy
from ds2ta_deploy.energy.synaptic import Operations, count_operations
from ds2ta_deploy.errors import InputError, UsageError
from ds2ta_deploy.graph.graph import metered
from ds2ta_deploy.graph.operations import dense_operations
from ds2ta_deploy.graph.populations import group
from ds2ta_deploy.report import memory
from ds2ta_deploy.synthetic import synthetic_pixels


@pytest.mark.parametrize("name", ["small_graph", "stream_graph"])
def test_counts_are_those_of_every_op_on_all_samples_whatever_the_batches(name, request, small_inputs, monkeypatch):
    monkeypatch.setattr(measure, "_BATCH", 2)
    graph = request.getfixturevalue(name)
    assert_fires(trace_of(graph, small_inputs))
    told = []
    report = measure_energy(graph, small_inputs, told.append)
    assert told == [2, 4, 5]
    whole = {}
    graph.execute(small_inputs, apply=metered(lambda op, read: whole.__setitem__(op.name, count_operations(graph, op, read))))
    populations = {population.name: population for population in group(graph)}
    for layer in report.layers:
        members = populations[layer.name].ops
        assert layer.operations == sum((whole[op.name] for op in members), Operations())
        assert layer.dense == 5 * sum(dense_operations(graph, op) for op in members)
    assert report.total == sum(whole.values(), Operations())
    assert report.dense == 5 * sum(dense_operations(graph, op) for op in graph)
    assert report.total.effective_acs > 0 < report.total.effective_macs
    assert (report.samples, report.graph, report.footprint) == (5, graph.name, sum(memory(graph).values()))


def test_sparsity_is_the_share_of_silent_neurons_and_of_weights_that_are_zero(small_graph, small_inputs):
    trace = trace_of(small_graph, small_inputs)
    report = measure_energy(small_graph, small_inputs)
    spiking = {layer.name: layer for layer in report.layers if layer.activations}
    assert set(spiking) == {name.removesuffix(".spikes") for name in trace if name.endswith(".spikes")}
    for name, layer in spiking.items():
        spikes = trace[f"{name}.spikes"].ravel().tolist()
        assert layer.activation_sparsity == spikes.count(0) / len(spikes)
    silent = sum(layer.silent for layer in spiking.values())
    assert report.activation_sparsity == silent / sum(layer.activations for layer in spiking.values())
    weights = np.concatenate([op.weight.ravel() for op in small_graph if hasattr(op, "weight")])
    assert report.connection_sparsity == (weights == 0).sum() / weights.size
    assert report.layers[-1].activation_sparsity is None  # the readout fires nothing


def test_maps_before_and_behind_the_denoiser(small_graph, small_inputs):
    trace = trace_of(small_graph, small_inputs)
    (found,) = measure_energy(small_graph, small_inputs).maps
    scores, denoised = (trace[f"blocks.0.attn.{name}"] for name in ("scores", "denoised"))
    assert (found.name, found.entries) == ("blocks.0.attn", scores.size)
    assert (found.zeros_before, found.zeros_after) == (int((scores == 0).sum()), int((denoised == 0).sum()))
    assert found.zeros_before != found.zeros_after
    assert found.sparsity == found.sparsity_after == found.zeros_after / found.entries
    assert found.dense == 4 * 5 * 12 * 12 * 8  # T B N^2 D


def test_a_map_without_a_denoiser(stream_graph, small_inputs):
    maps = measure_energy(stream_graph, small_inputs).maps
    assert maps
    assert all(entry.zeros_after is None and entry.sparsity_after is None and entry.sparsity == entry.sparsity_before for entry in maps)


def test_energy_is_counts_times_constants():
    done = Operations(effective_acs=1000, effective_macs=10, window_additions=100)
    assert energy_pj(done, INTEGER) == pytest.approx(0.1 * 1100 + 0.3 * 10)  # of real numbers, not of integers
    assert energy_pj(done, FLOAT) == pytest.approx(0.9 * 1100 + 4.6 * 10)
    assert list(CONSTANTS) == ["int8", "float32"]


def test_what_cannot_be_measured_is_named(small_graph, small_inputs):
    with pytest.raises(UsageError, match="DS2TA-507"):
        measure_energy(small_graph, small_inputs[:0])
    with pytest.raises(InputError, match="DS2TA-121"):
        measure_energy(small_graph, small_inputs[:, 1:])


def test_every_family_can_be_measured(family_graphs):
    for name, graph in family_graphs.items():
        shape = tuple(2 if size is None else size for size in graph.input_type.shape)
        report = measure_energy(graph, synthetic_pixels("frames" if len(shape) == 5 else "images", shape, 3))
        assert report.total.effective_acs > 0, name
        assert len(report.maps) == (2 if name in ("spikformer-cifar", "spikformer-dvs") else 0), name
        assert 0 < report.activation_sparsity < 1, name
