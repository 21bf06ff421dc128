"""Populations on Lava's own processes: the same spikes in every step, on the real Lava."""

import numpy as np
import pytest
from builders import assert_fires, trace_of
from lava_support import STOCK, needs_lava, stock_network, write_export
from support import assert_all_equal

from ds2ta_deploy.errors import InputError, RuntimeFailedError, UsageError
from ds2ta_deploy.exporters.lava.ds2ta_lava.network import read_network
from ds2ta_deploy.graph.populations import population_values
from ds2ta_deploy.parity import compare_runtimes
from ds2ta_deploy.runtimes.lava_process import LavaRuntime, LavaStepperRuntime
from ds2ta_deploy.runtimes.reference import ReferenceRuntime

INNER = {f"{name}.{part}" for name in STOCK for part in ("product", "current", "membrane")}


@needs_lava
@pytest.mark.parametrize(("steps", "scale"), [(1, 1), (2, 25), (4, 1), (4, 25), (7, 1), (7, 25)])
def test_every_spike_in_every_step_is_the_references(steps, scale, tmp_path, leftovers):
    graph, inputs = stock_network(steps, scale=scale)
    expected = trace_of(graph, inputs)
    assert_fires(expected)
    met = 0  # thresholds that a leaked membrane and a current meet exactly
    for name in STOCK:
        membrane = expected[f"{name}.membrane"]
        (threshold,) = {int(value) for op in graph if op.name == name for value in op.threshold}
        assert (membrane == threshold).any()
        assert (membrane < 0).any()
        leaked = membrane - expected[f"{name}.current"]
        assert steps == 1 or (leaked < 0).any()
        met += int(((membrane == threshold) & (leaked != 0)).sum())
    assert steps == 1 or met
    assert expected["blocks.0.sum"].max() == 2
    runtime = LavaRuntime(write_export(graph, tmp_path, "stock"), graph)
    wanted = [name for name in graph.observable if name not in runtime.hidden]
    assert set(graph.observable) - set(wanted) == INNER
    assert_all_equal({name: expected[name] for name in wanted}, runtime.trace(inputs, wanted))


@needs_lava
def test_samples_do_not_remember_each_other(tmp_path):
    graph, inputs = stock_network(4)
    wanted = population_values(graph)
    runtime = LavaRuntime(write_export(graph, tmp_path, "stock"), graph)
    together, alone = runtime.trace(inputs, wanted), runtime.trace(inputs[:, 3:4], wanted)
    for name in wanted:
        assert np.array_equal(together[name].take([3], int(name != graph.output)), alone[name])


@needs_lava
def test_only_what_is_asked_for_is_recorded(tmp_path):
    graph, inputs = stock_network(2)
    found = LavaRuntime(write_export(graph, tmp_path, "stock"), graph).trace(inputs, ["blocks.0.mlp.fc1.spikes"])
    assert set(found) == {"blocks.0.mlp.fc1.spikes", "head.logits"}
    assert np.array_equal(found["head.logits"], graph.execute(inputs))


def test_the_stepper_shows_what_is_inside(tmp_path):
    graph, inputs = stock_network(3)
    runtime = LavaStepperRuntime(write_export(graph, tmp_path, "stock"), graph)
    assert runtime.hidden == frozenset()
    assert LavaRuntime(tmp_path / "lava", graph).hidden == read_network(tmp_path / "lava").hidden == INNER
    assert_all_equal(trace_of(graph, inputs), runtime.trace(inputs, graph.observable))


def test_what_is_inside_cannot_be_asked_of_lava(tmp_path):
    graph, inputs = stock_network(2)
    runtime = LavaRuntime(write_export(graph, tmp_path, "stock"), graph)
    with pytest.raises(UsageError, match=r"DS2TA-512 \[blocks\.1\.fc\.membrane\]: is inside one of Lava's own processes.*lava-stepper"):
        runtime.trace(inputs, ["blocks.1.fc.spikes", "blocks.1.fc.membrane"])
    (tmp_path / "lava" / "graph.json").write_text('{"processes": [{"lowering": "stock"}]}')
    with pytest.raises(InputError, match="DS2TA-163"):
        LavaRuntime(tmp_path / "lava", graph).trace(inputs, ())


@needs_lava
def test_the_exported_package_says_so_too(tmp_path):
    graph, inputs = stock_network(2)
    runtime = LavaRuntime(write_export(graph, tmp_path, "stock"), graph)
    runtime._inside_stock = frozenset()
    with pytest.raises(InputError, match=r"DS2TA-163 .*inside Lava's own processes.*blocks\.1\.fc\.current"):
        runtime.trace(inputs, ["blocks.1.fc.current"])


@needs_lava
def test_a_comparison_of_all_values_counts_what_lava_can_show(tmp_path):
    graph, inputs = stock_network(2)
    directory = write_export(graph, tmp_path, "stock")
    others = [LavaRuntime(directory, graph), LavaStepperRuntime(directory, graph)]
    report = compare_runtimes(graph, inputs, ReferenceRuntime(graph), others, graph.observable)
    assert report.passed
    everything = len(graph.observable)
    assert [(result.runtime, result.values) for result in report.results] == [
        ("lava", everything - len(INNER)),
        ("lava-stepper", everything),
    ]


@needs_lava
def test_a_failure_behind_a_stock_process_is_named(tmp_path, leftovers):
    graph, inputs = stock_network(2)
    directory = write_export(graph, tmp_path, "stock")
    with np.load(directory / "tensors.npz") as file:
        tensors = dict(file)
    tensors["head/bias"] = np.full_like(tensors["head/bias"], 2**23)
    np.savez(directory / "tensors.npz", **tensors)
    with pytest.raises(RuntimeFailedError, match=r"DS2TA-601 .*StateOverflowError: head\.logits"):
        LavaRuntime(directory, graph).trace(inputs, ())
