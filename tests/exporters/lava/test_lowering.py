"""Which populations Lava's own processes express, and what an export says of the others."""

import dataclasses
import json

import numpy as np
import pytest
from builders import build_small_graph
from lava_support import STOCK, stock_network, write_export
from support import bias_only, lif, replaced, spiking_chain

from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.exporters.lava import lowering, to_lava
from ds2ta_deploy.exporters.lava.ds2ta_lava.network import read_network
from ds2ta_deploy.exporters.lava.ds2ta_lava.schedule import Schedule
from ds2ta_deploy.exporters.lava.lowering import plan
from ds2ta_deploy.exporters.lava.processes import leaf_processes


@pytest.fixture(scope="module")
def network():
    return stock_network(4)[0]


def why_not(graph, name, **changes):
    """Return the reason for which a population of a changed graph is not lowered."""
    return plan(replaced(graph, name, **changes), "stock").why_not


def test_weights_bias_and_neuron_are_lowered_and_the_encoder_is_not(network):
    planned = plan(network, "stock")
    assert planned.stock == STOCK
    assert planned.why_not == {"conv": "it reads the table of pixels and is part of the encoder, outside the cores"}
    assert plan(network, "custom") == lowering.Lowering()


FC2 = "blocks.0.mlp.fc2"


@pytest.mark.parametrize(
    ("op", "changes", "reason"),
    [
        ("", {"threshold": np.array([4, 4, 5, 4, 4, 6], np.int32)}, "its channels have 3 thresholds and a stock neuron has one"),
        ("", {"leak_numerator": 3, "leak_shift": 2}, "its leak is 3 / 2^2, and only 1/2 is exact there"),
        ("", {"leak_numerator": 1, "leak_shift": 2}, "its leak is 1 / 2^2, and only 1/2 is exact there"),
        (".window", {"taps": 2}, "it has a temporal window (taps 2, guard bits 0)"),
        (".window", {"guard_bits": 1}, "it has a temporal window (taps 1, guard bits 1)"),
        ("", {"threshold": np.full(6, 2**14, np.int32)}, "its threshold 16384 and the 3 guard bits of 4 steps leave the 17 bits"),
        (".window", {"bias": np.full(6, 1024, np.int32)}, "its bias [1024, 1024] and 3 guard bits leave the 13 bits"),
        (".window", {"bias": np.full(6, -1025, np.int32)}, "its bias [-1025, -1025] and 3 guard bits leave the 13 bits"),
        (".weights", {"weight": np.full((6, 8), 200, np.int16)}, "counts of 8 bits and weights of 8 bits"),
    ],
    ids=str,
)
def test_every_reason_names_what_does_not_fit(network, op, changes, reason):
    found = why_not(network, FC2 + op, **changes)[FC2]
    assert found.startswith(reason) or reason in found
    assert "; " not in found


@pytest.mark.parametrize(
    ("op", "changes"),
    [
        ("", {"threshold": np.full(6, 2**14 - 1, np.int32)}),
        ("", {"leak_numerator": 2, "leak_shift": 2}),
        (".window", {"bias": np.array([1023, -1024, 0, 0, 0, 0], np.int32)}),
        (".weights", {"weight": np.resize(np.array([127, -128], np.int8), (6, 8))}),
    ],
    ids=str,
)
def test_what_just_fits_is_lowered(network, op, changes):
    assert FC2 in plan(replaced(network, FC2 + op, **changes), "stock").stock


@pytest.mark.parametrize(
    ("steps", "bias", "reasons"),
    [
        (7, 0, []),  # membranes of hardly more than -2 * 1024: 6 guard bits take them to the edge
        (7, -9, ["membrane [-20"]),
        (8, 0, ["product [-1024, ", "membrane [-20"]),
    ],
)
def test_products_and_membranes_are_held_against_the_proven_ranges(steps, bias, reasons):
    weight, biases = np.zeros((6, 8), np.int8), np.zeros(6, np.int32)
    weight[0], biases[0] = -128, bias
    graph = replaced(replaced(stock_network(steps)[0], f"{FC2}.weights", weight=weight), f"{FC2}.window", bias=biases)
    found = why_not(graph, FC2, threshold=np.full(6, 9, np.int32)).get(FC2, "")
    parts = [part for part in found.split("; ") if part]
    assert len(parts) == len(reasons)
    for part, reason in zip(parts, reasons, strict=True):
        assert part.startswith(f"its {reason}")
        assert part.endswith(f"and the {steps - 1} guard bits of {steps} steps leave the 17 bits of a stock neuron")


def test_a_network_of_too_many_synapses(network, monkeypatch):
    monkeypatch.setattr(lowering, "MAX_SYNAPSES", 12 * 6 * 8 - 1)
    reasons = plan(network, "stock").why_not
    assert reasons[FC2] == "with a copy of the weights for each of 12 tokens it has 576 synapses, more than 575"


def test_convolutions_attention_and_windows_say_why():
    graph = build_small_graph()
    neuron = next(op for op in graph if op.name == FC2)
    why = plan(replaced(graph, FC2, threshold=np.full_like(neuron.threshold, 9)), "stock").why_not
    assert why["patch.position"].startswith("a convolution; stock synapses share no weights")
    assert why["blocks.0.attn"] == "it multiplies two activations, and stock synapses hold weights"
    assert why["blocks.0.attn.q"].startswith("it has a temporal window")
    assert "thresholds" in why["blocks.0.mlp.fc1"]
    assert "its leak is 3 / 2^2" in why["blocks.0.mlp.fc1"]
    assert FC2 not in why


def test_a_membrane_that_others_read_is_not_available(network):
    window = dataclasses.replace(bias_only("extra", "product", 6), inputs=(f"{FC2}.membrane",))
    odd = dataclasses.replace(network, ops=(*network.ops, window, lif("extra", "extra.current", [4] * 6)))
    why = plan(odd, "stock").why_not
    assert why[FC2] == "it is not weights, bias and neuron in every time step, of which others read the spikes alone"
    assert why["extra"].startswith("a neuron without weights")


def test_nothing_at_all_to_lower_is_an_error_with_every_reason():
    graph, _ = spiking_chain(3)
    with pytest.raises(UnsupportedError) as caught:
        to_lava(graph, "stock")
    assert [(problem.code, problem.where) for problem in caught.value.problems] == [("DS2TA-242", "conv"), ("DS2TA-242", "linear")]
    assert "its channels have 3 thresholds" in str(caught.value)


def test_a_lowered_population_stays_alone(network):
    leaves = {leaf.name: leaf for leaf in leaf_processes(network, STOCK)}
    assert sorted(op.name for leaf in leaves.values() for op in leaf.ops) == sorted(op.name for op in network)
    for name in STOCK:
        assert [type(op).__name__ for op in leaves[name].ops] == ["Linear", "TemporalWindow", "Lif"]
        assert leaves[name].output == f"{name}.spikes"
    assert leaves["blocks.0.sum.add"].kind == "Elementwise"
    assert "blocks.0.sum.add" not in {leaf.name for leaf in leaf_processes(network)}


def test_graph_json_says_how_each_process_is_lowered(network):
    data = json.loads(to_lava(network, "stock")["lava/graph.json"])
    assert {entry["name"]: entry["lowering"] for entry in data["processes"]} == {
        "conv": "custom",
        **dict.fromkeys(STOCK, "stock"),
        "blocks.0.sum.add": "custom",
        "head": "custom",
    }
    assert [entry["why_not"] for entry in data["processes"] if entry["name"] == "conv"] == [plan(network, "stock").why_not["conv"]]
    assert "sends delay steps later" in data["time_step_contract"]
    assert data["latency"] == 3
    assert {entry["name"]: entry["delay"] for entry in data["processes"] if entry["delay"]} == dict.fromkeys(STOCK, 1)
    plain = json.loads(to_lava(network)["lava/graph.json"])
    assert {(entry["lowering"], entry["why_not"]) for entry in plain["processes"]} == {("custom", None)}
    assert "later" not in plain["time_step_contract"]
    assert plain["latency"] == 0


def test_everything_behind_a_stock_process_begins_later(network, tmp_path):
    processes = read_network(write_export(network, tmp_path, "stock")).processes
    schedule = Schedule.of(processes)
    assert schedule.start == {
        "conv": 0,
        "blocks.0.mlp.fc1": 0,
        "blocks.0.mlp.fc2": 1,
        "blocks.0.sum.add": 2,
        "blocks.1.fc": 2,
        "head": 3,
    }
    lags = {process.name: schedule.lags(process) for process in processes}
    assert lags["blocks.0.sum.add"] == (2, 0)
    assert lags["head"] == (1, 0)
    assert schedule.latency == 3
    assert Schedule.of(read_network(write_export(network, tmp_path / "custom")).processes).latency == 0
