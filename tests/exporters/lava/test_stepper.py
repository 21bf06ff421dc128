import numpy as np
import pytest
from builders import assert_fires, small_inputs, trace_of
from lava_support import chunked_network, write_export
from stream_graph import build_stream_graph
from support import assert_all_equal, attention_on_counts, spiking_chain

from ds2ta_deploy.exporters.lava.ds2ta_lava import stepper
from ds2ta_deploy.exporters.lava.ds2ta_lava.arithmetic import NetworkError, StateOverflowError
from ds2ta_deploy.exporters.lava.ds2ta_lava.network import read_network


def test_every_value_in_every_step_is_the_graphs(exported):
    graph, inputs, expected, directory = exported
    assert_all_equal(expected, stepper.run(read_network(directory), inputs, graph.observable))


@pytest.mark.parametrize("settings", [{"window": (3, 2, 1)}, {"leak": (3, 2)}, {"counts": 3}, {"window": (2, 1, 4), "leak": (171, 8)}])
@pytest.mark.parametrize("steps", [1, 3])
def test_windows_leaks_and_counts(steps, settings, tmp_path):
    graph, inputs = spiking_chain(steps, **settings)
    expected = trace_of(graph, inputs)
    assert_fires(expected)
    assert_all_equal(expected, stepper.run(read_network(write_export(graph, tmp_path)), inputs, graph.observable))


def test_attention_on_counts(tmp_path):
    graph, inputs = attention_on_counts(2)
    assert_all_equal(trace_of(graph, inputs), stepper.run(read_network(write_export(graph, tmp_path)), inputs, graph.observable))


@pytest.mark.parametrize("still", [True, False], ids=["images", "frames"])
def test_streams_and_every_attention(still, tmp_path):
    graph, inputs = build_stream_graph(still=still), small_inputs(still=still)
    expected = trace_of(graph, inputs)
    assert_fires(expected)
    assert_all_equal(expected, stepper.run(read_network(write_export(graph, tmp_path)), inputs, graph.observable))


@pytest.mark.parametrize("lowering", ["custom", "stock"])
@pytest.mark.parametrize("chunks", [(0,), (1,), (2,), (4,), (1, 2, 4), (4, 2, 0, 2)], ids=str)
def test_chunks_one_behind_the_other(chunks, lowering, tmp_path):
    graph, inputs = chunked_network(chunks, still=False)
    expected = trace_of(graph, inputs)
    assert_fires(expected)
    assert_all_equal(expected, stepper.run(read_network(write_export(graph, tmp_path, lowering)), inputs, graph.observable))


@pytest.mark.parametrize(
    ("changed", "overflows"),
    [
        ({"blocks.2.attn.mix/matrix": 2**15 - 1}, "blocks.2.attn.mixed"),
        ({"patch.stages.1/bias": 5 * 2**20, "blocks.0.attn.proj/bias": 2**22}, "blocks.0.attn_residual"),
        ({"blocks.3.mlp.fc2/bias": -5 * 2**20 // 12}, "head.input.membrane"),
        ({"blocks.3.mlp.fc2/bias": 2**21}, "head.sum"),
    ],
    ids=["mix over time", "stream", "membrane on a stream", "sum over tokens"],
)
def test_state_of_every_kind_that_does_not_fit_raises(changed, overflows, tmp_path):
    directory = write_export(build_stream_graph(), tmp_path)
    with np.load(directory / "tensors.npz") as file:
        tensors = dict(file)
    tensors.update({name: np.full_like(tensors[name], value) for name, value in changed.items()})
    np.savez(directory / "tensors.npz", **tensors)
    with pytest.raises(StateOverflowError, match=rf"^{overflows} (before its shift )?holds .* which 24 bits cannot store"):
        stepper.run(read_network(directory), small_inputs(), ())


def test_the_output_always_comes_back(exported):
    graph, inputs, expected, directory = exported
    assert_all_equal({graph.output: expected[graph.output]}, stepper.run(read_network(directory), inputs, ()))


def test_what_is_no_value_or_no_input_is_said(exported):
    _, inputs, _, directory = exported
    network = read_network(directory)
    with pytest.raises(NetworkError, match="no such values: nothing"):
        stepper.run(network, inputs, ["nothing"])
    for wrong in (inputs[..., :1], inputs.astype(np.int32), inputs[0], np.uint8(3), inputs.take([], 0 if network.still else 1)):
        with pytest.raises(NetworkError, match="the network takes uint8"):
            stepper.run(network, wrong, ())


def test_state_that_does_not_fit_raises(exported, tmp_path):
    _, inputs, _, directory = exported
    for file in ("graph.json", "tensors.npz"):
        (tmp_path / file).write_bytes((directory / file).read_bytes())
    with np.load(tmp_path / "tensors.npz") as file:
        tensors = dict(file)
    tensors["blocks.0.mlp.fc1.window/bias"] = np.full_like(tensors["blocks.0.mlp.fc1.window/bias"], 2**23)
    np.savez(tmp_path / "tensors.npz", **tensors)
    with pytest.raises(StateOverflowError, match=r"blocks\.0\.mlp\.fc1\.current"):
        stepper.run(read_network(tmp_path), inputs, ())


@pytest.mark.parametrize("damage", ["no graph", "no tensors", "no json", "other schema", "missing tensor", "floats"])
def test_files_that_hold_no_network(exported, tmp_path, damage):
    directory = exported[3]
    graph, tensors = (directory / "graph.json").read_text(), dict(np.load(directory / "tensors.npz"))
    if damage == "other schema":
        graph = graph.replace("ds2ta-lava/1", "ds2ta-lava/9")
    if damage == "no json":
        graph = graph[:-9]
    if damage == "missing tensor":
        tensors.pop("head/weight")
    if damage == "floats":
        tensors["head/weight"] = tensors["head/weight"].astype(np.float32)
    if damage != "no graph":
        (tmp_path / "graph.json").write_text(graph)
    if damage != "no tensors":
        np.savez(tmp_path / "tensors.npz", **tensors)
    with pytest.raises(NetworkError):
        read_network(tmp_path)
