"""Few processes, each of which sends one value and receives few."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from lava_support import chunked_network
from support import lif, spiking_chain

from ds2ta_deploy.errors import UnsupportedError
from ds2ta_deploy.exporters.lava import grouping, processes, to_lava
from ds2ta_deploy.exporters.lava.ds2ta_lava.schedule import Schedule
from ds2ta_deploy.exporters.lava.grouping import MAX_PORTS, chunk_spans
from ds2ta_deploy.exporters.lava.processes import leaf_processes
from ds2ta_deploy.graph import ops
from ds2ta_deploy.graph.graph import Graph


def kinds(leaf) -> str:
    return " ".join(type(op).__name__ for op in leaf.ops)


def assert_sound(graph: Graph, leaves: Sequence[processes.LeafProcess]) -> None:
    """Every op once, values only from processes before, never a chunk on the way."""
    assert sorted(op.name for leaf in leaves for op in leaf.ops) == sorted(op.name for op in graph)
    known, spans = {graph.input_name}, chunk_spans(graph)
    for leaf in leaves:
        assert set(leaf.inputs) <= known
        assert len(leaf.inputs) <= MAX_PORTS
        assert spans[leaf.output] == 1
        known.add(leaf.output)


def test_the_processes_of_membrane_streams_and_their_attentions(stream_graph):
    leaves = leaf_processes(stream_graph)
    assert_sound(stream_graph, leaves)
    assert [leaf.name for leaf in leaves] == [
        *("patch.stages.0", "patch.stages.1", "patch.position"),
        *(f"blocks.0.attn.{part}" for part in ("input", *"qkv", "proj")),
        *("blocks.0.mlp.fc1", "blocks.0.mlp.fc2", *(f"blocks.1.attn.{part}" for part in ("input", *"qkv"))),
        *("blocks.1.attn", "blocks.1.attn.proj", "blocks.1.mlp.fc1", "blocks.1.mlp.fc2"),
        *(f"blocks.2.attn.{part}" for part in ("input", *"qkv", "proj")),
        *("blocks.2.mlp.fc1", "blocks.2.mlp.fc2", *(f"blocks.3.attn.{part}" for part in ("input", *"qkv"))),
        *("blocks.3.attn", "blocks.3.attn.proj", "blocks.3.mlp.fc1", "blocks.3.mlp.fc2", "head"),
    ]
    found = {leaf.name: leaf for leaf in leaves}
    assert kinds(found["patch.position"]) == "Lif Conv2d TemporalWindow Add Tokens"
    assert kinds(found["blocks.0.attn.input"]) == "Lif"
    assert found["blocks.0.attn.input"].kind == "SpikingNeuron"
    assert kinds(found["blocks.0.attn.proj"]) == "Linear TemporalWindow Add"
    assert found["blocks.0.attn.proj"].kind == "Synapses"
    assert kinds(found["blocks.0.mlp.fc1"]) == "Lif Linear TemporalWindow Lif"
    assert kinds(found["blocks.1.attn"]).endswith("TemporalWindow Lif")  # its mask would be a fourth value
    assert kinds(found["blocks.1.attn.proj"]) == "Pixels MaxPool2d Tokens Mul Add Linear TemporalWindow Add"
    assert kinds(found["blocks.3.mlp.fc2"]) == "Linear TemporalWindow Add ReduceSum Lif"
    assert {leaf.name: leaf.delay for leaf in leaves if leaf.delay} == {"blocks.1.attn": 1}


@pytest.mark.parametrize("still", [True, False])
def test_products_that_are_added_up_share_a_process_with_their_neuron(still):
    graph, _ = chunked_network((0,), still=still)
    leaves = leaf_processes(graph)
    assert_sound(graph, leaves)
    assert (leaves[0].kind, leaves[0].inputs) == ("Encoder", ("images",))
    assert kinds(leaves[0]) == f"InputTable Conv2d Conv2d Add TemporalWindow{' Repeat' * still} Lif"
    assert (leaves[1].name, leaves[1].kind) == ("patch.stages.1", "SpikingConv2d")
    assert kinds(leaves[1]) == "Conv2d Conv2d Add TemporalWindow Lif"


def test_whoever_shares_chunks_is_one_process_and_late():
    graph, _ = chunked_network((1, 2, 4), still=True)
    leaves = leaf_processes(graph)
    assert_sound(graph, leaves)
    assert {leaf.name: leaf.delay for leaf in leaves if leaf.delay} == {"blocks.1.attn": 1, "blocks.2.attn": 3}
    found = {leaf.name: leaf for leaf in leaves}
    assert kinds(found["blocks.2.attn"]).count("Chunk MaxPool2d MatMul") == 1
    assert "blocks.2.attn.k.spikes" not in found["blocks.2.attn"].inputs
    schedule = Schedule.of(leaves)
    assert schedule.start["blocks.1.attn.proj"] == schedule.start["blocks.2.attn"] == 1
    assert (schedule.start["blocks.2.attn.proj"], schedule.lags(found["blocks.2.attn.proj"])) == (4, (0, 3))
    assert schedule.latency == schedule.start["head"] == 4


def chain_with(*behind: ops.Op, read: str) -> Graph:
    """Return a chain whose readout reads another value, made by ops that are put before it from ``linear.spikes``."""
    graph, _ = spiking_chain(4)
    return dataclasses.replace(graph, ops=(*graph.ops[:-1], *behind, dataclasses.replace(graph.ops[-1], inputs=(read,))))


def test_chunks_that_would_wait_for_themselves():
    """A product that nobody reads takes the first product's chunks, and what a process behind that one made of it."""
    between = [
        ops.SplitHeads("s", ("linear.spikes",), ("_s",), heads=1),
        ops.Chunk("c", ("_s",), ("_c",), steps=2),
        ops.MatMul("m", ("_c", "_c"), ("_m",), transpose_right=1),
        ops.Unchunk("u", ("_m",), ("_u",), steps=2),
        ops.MergeHeads("g", ("_u",), ("_g",)),
        lif("n", "_g", [2] * 30),
        ops.Linear("w", ("n.spikes",), ("w.product",), weight=np.ones((3, 30), np.int8)),
        lif("r", "w.product", [2] * 3),
    ]
    assert [leaf.name for leaf in leaf_processes(chain_with(*between, read="r.spikes"))] == ["conv", "linear", "n", "r", "head"]
    back = [
        ops.SplitHeads("t", ("r.spikes",), ("_t",), heads=1),
        ops.Chunk("d", ("_t",), ("_d",), steps=2),
        ops.MatMul("o", ("_d", "_c"), ("o.product",), transpose_right=1),
    ]
    with pytest.raises(UnsupportedError, match=r"DS2TA-241 \[r\]: would wait for a value that is made from its own"):
        to_lava(chain_with(*between, *back, read="r.spikes"))


def test_a_process_with_too_many_ports_is_named(stream_graph, monkeypatch):
    monkeypatch.setattr(processes, "MAX_PORTS", 2)
    with pytest.raises(UnsupportedError, match=r"DS2TA-241 \[blocks\.1\.attn\]: would receive 3 values, a process has at most 2 in-ports"):
        leaf_processes(stream_graph)


@pytest.mark.parametrize(("ports", "count"), [(2, 35), (3, 34), (9, 34)])
def test_ports_decide_how_far_processes_grow(ports, count, stream_graph, monkeypatch):
    monkeypatch.setattr(grouping, "MAX_PORTS", ports)
    assert len(grouping.parts_of(stream_graph)) == count


def test_a_neuron_of_which_spikes_and_membrane_are_read():
    extra = [lif("n", "linear.membrane", [2] * 3), ops.Add("a", ("linear.spikes", "n.spikes"), ("sum",))]
    with pytest.raises(UnsupportedError, match=r"DS2TA-241 \[linear\]: would send 2 values"):
        to_lava(chain_with(*extra, read="sum"))
