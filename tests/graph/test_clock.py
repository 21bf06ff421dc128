"""Chunks make their time steps one: what is computed before what."""

import pytest
from compositions import build
from stream_graph import CHUNKED

from ds2ta_deploy.graph.clock import Clock


def test_without_chunks_every_step_is_by_itself(small_graph):
    clock = Clock.of(small_graph)
    assert clock.span == 1
    assert set(clock.covers.values()) == {1}
    assert [clock.block("blocks.0.attn.spikes", step) for step in range(4)] == [0, 1, 2, 3]
    assert [clock.until("blocks.0.attn.spikes", step) for step in range(4)] == [1, 2, 3, 4]


def test_the_steps_of_a_chunk_are_computed_together(stream_graph):
    clock, state, spikes = Clock.of(stream_graph), f"{CHUNKED}.key_value", f"{CHUNKED}.q.spikes"
    assert clock.span == clock.covers[state] == 2
    assert [clock.block(spikes, step) for step in range(4)] == [0, 0, 1, 1]
    assert [clock.block(state, chunk) for chunk in range(2)] == [0, 1]
    assert [(clock.until(spikes, block), clock.until(state, block)) for block in range(2)] == [(2, 1), (4, 2)]


@pytest.mark.parametrize(("name", "span"), [("linear attention", 1), ("turned attention", 4), ("denoised chunks", 2)])
def test_chunks_of_any_length(name, span):
    clock = Clock.of(build(name)[0])
    assert clock.span == span
    assert clock.block("q.spikes", 3) == (4 - 1) // span
