"""Membrane streams, and attention over chunks of time steps, on the real Lava: late there, and the same integers."""

import numpy as np
import pytest
from builders import assert_fires, small_inputs, trace_of
from lava_support import chunked_network, needs_lava, write_export
from stream_graph import build_stream_graph
from support import assert_all_equal

from ds2ta_deploy.errors import RuntimeFailedError
from ds2ta_deploy.exporters.lava.ds2ta_lava.network import read_network
from ds2ta_deploy.exporters.lava.ds2ta_lava.schedule import Schedule
from ds2ta_deploy.runtimes.lava_process import LavaRuntime

pytestmark = needs_lava


def test_streams_and_every_attention(tmp_path, leftovers):
    graph, inputs = build_stream_graph(), small_inputs()
    expected = trace_of(graph, inputs)
    assert_fires(expected)
    assert_all_equal(expected, LavaRuntime(write_export(graph, tmp_path), graph).trace(inputs, graph.observable))


@pytest.mark.parametrize(
    ("chunks", "still", "lowering", "latency"), [((1, 2, 4), True, "custom", 4), ((4, 0, 2), False, "stock", 5)], ids=str
)
def test_chunks_one_behind_the_other(chunks, still, lowering, latency, tmp_path, leftovers):
    graph, inputs = chunked_network(chunks, still=still)
    expected = trace_of(graph, inputs)
    assert_fires(expected)
    directory = write_export(graph, tmp_path, lowering)
    processes = read_network(directory).processes
    assert Schedule.of(processes).latency == latency
    assert [process.name for process in processes if process.lowering == "stock"] == ["tail.fc"] * (lowering == "stock")
    runtime = LavaRuntime(directory, graph)
    wanted = [name for name in graph.observable if name not in runtime.hidden]
    found = runtime.trace(inputs, wanted)
    assert_all_equal({name: expected[name] for name in wanted}, found)
    if lowering == "stock":
        alone = runtime.trace(inputs[:, 3:4], wanted)  # a sample remembers nothing of those before it
        assert all(np.array_equal(found[name].take([3], int(name != graph.output)), alone[name]) for name in wanted)


def test_a_late_process_that_raises_is_named(tmp_path, leftovers):
    graph, inputs = chunked_network((2,), still=True)
    directory = write_export(graph, tmp_path)
    with np.load(directory / "tensors.npz") as file:
        tensors = dict(file)
    tensors["blocks.0.attn.window/bias"] = np.full_like(tensors["blocks.0.attn.window/bias"], 2**23)
    np.savez(directory / "tensors.npz", **tensors)
    with pytest.raises(RuntimeFailedError, match=r"DS2TA-601 .*that sends blocks\.0\.attn\.spikes, Lava step 2.*blocks\.0\.attn\.current"):
        LavaRuntime(directory, graph).trace(inputs, ())
