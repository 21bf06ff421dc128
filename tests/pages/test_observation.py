import numpy as np
import pytest
from builders import trace_of

from ds2ta_deploy.errors import InputError, ParityError, UsageError
from ds2ta_deploy.pages import observation
from ds2ta_deploy.pages.observation import map_ops, observe, table_behind
from ds2ta_deploy.parity import compare_runtimes
from ds2ta_deploy.runtimes.reference import ReferenceRuntime


@pytest.fixture(scope="module")
def trace(small_graph, small_inputs):
    return trace_of(small_graph, small_inputs)


@pytest.mark.parametrize("at_once", [1, 2, 64])
def test_sums_do_not_depend_on_batches(small_graph, small_inputs, trace, monkeypatch, at_once):
    monkeypatch.setattr(observation, "samples_at_once", lambda graph, wanted: at_once)
    told = []
    found = observe(small_graph, small_inputs, 3, progress=told.append)
    assert told[-1] == len(small_inputs) == found.samples
    names = [name for name in trace if name.endswith(".spikes")]
    assert list(found.spikes) == names
    for name in names:
        assert np.array_equal(found.spikes[name], trace[name].sum(axis=tuple(range(1, trace[name].ndim))))
        assert np.array_equal(found.fired[name], trace[name].any(axis=(0, 1)))
        assert np.array_equal(found.trace[name], trace[name][:, 3])
        assert found.rate(name) == pytest.approx(trace[name].mean())
    assert np.array_equal(found.trace["blocks.0.attn.denoised"], trace["blocks.0.attn.denoised"][:, 3])
    assert np.array_equal(found.logits, trace["head.logits"])
    assert np.array_equal(found.pixels, small_inputs[3])


def test_every_score_is_counted_at_its_head(small_graph, small_inputs, trace):
    found = observe(small_graph, small_inputs).scores["blocks.0.attn.denoiser"]
    scores = trace["blocks.0.attn.scores"]
    expected = [[int((scores[:, :, head] == score).sum()) for score in range(5)] for head in range(2)]
    assert found.tolist() == expected
    assert found.sum() == scores.size


def test_a_network_of_streams_is_observed(stream_graph, small_inputs):
    expected, found = trace_of(stream_graph, small_inputs), observe(stream_graph, small_inputs)
    assert found.spikes
    assert all(counts.sum() == expected[name].sum() for name, counts in found.spikes.items())
    assert set(found.work) == {op.name for op in stream_graph if isinstance(op, observation.WORKING)}


def test_maps_and_the_tables_behind_them(small_graph):
    (op,) = map_ops(small_graph)
    assert op.name == "blocks.0.attn.query_key"
    assert table_behind(small_graph, op.outputs[0]).name == "blocks.0.attn.denoiser"
    assert table_behind(small_graph, "patch.tokens") is None


def test_only_what_was_recorded_is_shown(small_graph, small_inputs):
    reference = ReferenceRuntime(small_graph)
    golden = compare_runtimes(small_graph, small_inputs, reference, [reference], small_graph.observable).hashes
    observe(small_graph, small_inputs, golden=golden)
    with pytest.raises(ParityError) as caught:
        observe(small_graph, small_inputs, golden={**golden, "blocks.0.attn.scores": "0" * 64})
    assert [(problem.code, problem.where) for problem in caught.value.problems] == [("DS2TA-304", "blocks.0.attn.scores")]


@pytest.mark.parametrize("sample", [-1, 5])
def test_there_is_no_such_sample(small_graph, small_inputs, sample):
    with pytest.raises(UsageError, match="DS2TA-518"):
        observe(small_graph, small_inputs, sample)


def test_inputs_that_do_not_fit(small_graph, small_inputs):
    with pytest.raises(UsageError, match="DS2TA-507"):
        observe(small_graph, small_inputs[:0])
    with pytest.raises(InputError, match="DS2TA-121"):
        observe(small_graph, small_inputs[:, 1:])
