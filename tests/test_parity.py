import dataclasses
import hashlib

import numpy as np
import pytest
from builders import assert_fires, build_small_graph, every_index, small_inputs, trace_of
from support import Tampered

from ds2ta_deploy import parity
from ds2ta_deploy.errors import ParityError, UsageError
from ds2ta_deploy.graph.populations import population_values
from ds2ta_deploy.parity import Divergence, ParityReport, RuntimeResult, compare_runtimes
from ds2ta_deploy.runtimes.base import Runtime
from ds2ta_deploy.runtimes.reference import ReferenceRuntime


class Recorded(Runtime):
    """A runtime that changes the honest trace of a batch by a function of it and of the batch's first sample."""

    name = "recorded"

    def __init__(self, graph, change):
        self.honest, self.change, self.start = ReferenceRuntime(graph), change, 0
        self.axis = graph.input_type.shape.index(None)

    def trace(self, inputs, wanted):
        trace = {name: value.copy() for name, value in self.honest.trace(inputs, wanted).items()}
        self.change(trace, self.start)
        self.start += inputs.shape[self.axis]
        return trace


def compare(graph, inputs, *others, wanted=None, **options):
    return compare_runtimes(graph, inputs, ReferenceRuntime(graph), others, wanted or graph.observable, **options)


@pytest.fixture
def batches_of(monkeypatch, small_graph):
    """Return a function that makes comparisons hold that many samples at once."""
    one = sum(
        int(np.prod([size or 1 for size in kind.shape])) * np.dtype(kind.dtype).itemsize
        for kind in (small_graph.types[name] for name in small_graph.observable)
    )
    return lambda size: monkeypatch.setattr(parity, "_MEMORY_BUDGET", size * one)


# --- nothing differs -------------------------------------------------------------------------------------------------


def test_equal_traces_pass_and_every_integer_is_counted(small_graph, small_inputs):
    expected = trace_of(small_graph, small_inputs)
    assert_fires(expected)
    report = compare(small_graph, small_inputs, ReferenceRuntime(small_graph), ReferenceRuntime(small_graph))
    assert report.passed
    assert report.samples == 5
    integers = sum(value.size for value in expected.values())
    assert report.baseline == "reference"
    assert [(r.values, r.integers, r.different, r.first) for r in report.results] == [(len(expected), integers, 0, None)] * 2
    assert report.silent == {}
    report.raise_on_difference()


def test_the_baselines_logits_and_rates_are_those_of_all_samples(small_graph, small_inputs, batches_of):
    expected = trace_of(small_graph, small_inputs)
    batches_of(2)
    report = compare(small_graph, small_inputs)
    assert np.array_equal(report.output, expected["head.logits"])
    assert report.firing_rates == {name: value.mean() for name, value in expected.items() if name.endswith(".spikes")}


def test_only_what_is_wanted_is_compared(small_graph, small_inputs):
    wanted = ["blocks.0.attn.scores", "head.logits"]
    report = compare(small_graph, small_inputs, Tampered(ReferenceRuntime(small_graph), "patch.tokens", (0, 0, 0, 0)), wanted=wanted)
    assert report.passed
    assert set(report.hashes) == set(wanted)
    assert report.results[0].values == 2


def test_progress_is_told_after_every_batch(small_graph, small_inputs, batches_of):
    told = []
    batches_of(2)
    compare(small_graph, small_inputs, progress=told.append)
    assert told == [2, 4, 5]


def test_no_sample_proves_nothing_and_is_refused(small_graph, small_inputs):
    with pytest.raises(UsageError, match="DS2TA-507"):
        compare(small_graph, small_inputs[:0], ReferenceRuntime(small_graph))


def test_nothing_compared_is_nothing_passed(small_graph, small_inputs):
    report = compare(small_graph, small_inputs)
    assert report.results == []
    assert not report.passed
    assert set(report.hashes) == set(small_graph.observable)


@pytest.mark.parametrize("golden", [{}, {"another.value": "00"}])
def test_recorded_hashes_of_nothing_are_nothing_passed(small_graph, small_inputs, golden):
    assert not compare(small_graph, small_inputs, golden=golden).passed


# --- hashes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("still", [True, False])
def test_hashes_do_not_depend_on_how_samples_are_batched(monkeypatch, still):
    graph, inputs = build_small_graph(still=still), small_inputs(still=still)
    found = []
    for budget in (1, 100_000, 2**30):
        monkeypatch.setattr(parity, "_MEMORY_BUDGET", budget)
        report = compare(graph, inputs)
        found.append((report.hashes, report.firing_rates))
    assert found[0] == found[1] == found[2]
    assert set(found[0][0]) == set(graph.observable)
    assert len(set(found[0][0].values())) > len(graph.observable) // 2


def test_a_hash_is_that_of_type_shape_and_integers_sample_after_sample(small_graph, small_inputs):
    expected = trace_of(small_graph, small_inputs)
    hashes = compare(small_graph, small_inputs).hashes
    for name in ("blocks.0.attn.q.spikes", "blocks.0.attn.membrane", "input_values", "head.logits"):
        kind = small_graph.types[name]
        digest = hashlib.sha256(f"{kind.dtype}{kind.shape}".encode())
        for sample in range(5):
            one = expected[name].take(sample, kind.shape.index(None))
            digest.update(one.astype(np.dtype(kind.dtype).newbyteorder("<")).tobytes())
        assert hashes[name] == digest.hexdigest()


def test_another_integer_another_order_another_number_of_samples_give_other_hashes(small_graph, small_inputs):
    whole = compare(small_graph, small_inputs).hashes
    for other in (small_inputs[::-1], small_inputs[:4], np.concatenate([small_inputs, small_inputs[:1]])):
        hashes = compare(small_graph, other).hashes
        assert all(hashes[name] != whole[name] for name in small_graph.observable)


def test_recorded_hashes_are_compared_with_what_the_graph_computes(small_graph, small_inputs):
    hashes = compare(small_graph, small_inputs).hashes
    report = compare(small_graph, small_inputs, ReferenceRuntime(small_graph), golden=hashes)
    assert report.passed
    assert report.results[1] == dataclasses.replace(report.results[0], runtime="golden")


def test_a_recorded_hash_that_differs_is_a_difference_of_its_own_kind(small_graph, small_inputs):
    hashes = compare(small_graph, small_inputs).hashes
    changed = hashes | {"blocks.0.attn.k.current": "0" * 64, "head.logits": "1" * 64}
    report = compare(small_graph, small_inputs, ReferenceRuntime(small_graph), golden=changed)
    assert not report.passed
    assert [result.different for result in report.results] == [0, 2]
    with pytest.raises(ParityError, match=r"DS2TA-304 \[blocks\.0\.attn\.k\.current\]: .*recorded at export"):
        report.raise_on_difference()


def test_values_without_a_recorded_hash_are_not_counted_as_compared_with_it(small_graph, small_inputs):
    hashes = compare(small_graph, small_inputs, wanted=population_values(small_graph)).hashes
    report = compare(small_graph, small_inputs, ReferenceRuntime(small_graph), golden=hashes)
    assert report.passed
    assert report.results[1].values == len(population_values(small_graph)) < report.results[0].values


# --- something differs -----------------------------------------------------------------------------------------------


def first_by_brute_force(expected, found, axis):
    """Return (sample, step, index) of the first difference, sample by sample and step by step, and both integers."""
    for sample in range(expected.shape[axis]):
        one, other = expected.take(sample, axis), found.take(sample, axis)
        for position in every_index(one.shape):
            if one[position] != other[position]:
                step, index = (position[0], position[1:]) if axis == 1 else (None, position)
                return sample, step, index, int(one[position]), int(other[position])
    return None


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_first_difference_is_found_in_the_order_sample_step_index(small_graph, small_inputs, batches_of, seed, size):
    random = np.random.default_rng(seed)
    expected = trace_of(small_graph, small_inputs)
    names = list(small_graph.observable)
    wrong = {name: expected[name].copy() for name in names}
    chosen = random.choice(names, 3, replace=False)
    for name in chosen:
        for _ in range(4):
            position = tuple(random.integers(0, extent) for extent in wrong[name].shape)
            wrong[name][position] += random.choice([-1, 1]) if wrong[name].dtype != np.uint8 else 1

    def change(trace, start):
        for name in trace:
            axis = small_graph.types[name].shape.index(None)
            trace[name] = wrong[name].take(range(start, start + trace[name].shape[axis]), axis)

    batches_of(size)
    report = compare(small_graph, small_inputs, ReferenceRuntime(small_graph), Recorded(small_graph, change))
    assert report.results[0].different == 0
    result = report.results[1]
    assert result.different == sum(int((wrong[name] != expected[name]).sum()) for name in names)
    # batch after batch, value after value in graph order, then (sample, step, index)
    for start in range(0, 5, size):
        for name in names:
            axis = small_graph.types[name].shape.index(None)
            part = range(start, min(start + size, 5))
            found = first_by_brute_force(expected[name].take(part, axis), wrong[name].take(part, axis), axis)
            if found is not None:
                sample, step, index, want, have = found
                assert result.first == Divergence("recorded", "reference", name, start + sample, step, index, want, have)
                return
    raise AssertionError("the test changed nothing")


@pytest.mark.parametrize(
    ("name", "position", "place"),
    [
        ("blocks.0.attn.q.spikes", (2, 3, 7, 5), "sample 3, time step 2, index [7, 5]"),
        ("blocks.0.attn.scores", (3, 0, 1, 11, 4), "sample 0, time step 3, index [1, 11, 4]"),
        ("patch.position.membrane", (0, 4, 3, 2, 7), "sample 4, time step 0, index [3, 2, 7]"),
        ("head.logits", (4, 2), "sample 4, index [2]"),
    ],
)
def test_one_wrong_integer_anywhere_is_named(small_graph, small_inputs, name, position, place):
    report = compare(small_graph, small_inputs, Tampered(ReferenceRuntime(small_graph), name, position))
    expected = int(trace_of(small_graph, small_inputs)[name][position])
    assert not report.passed
    assert report.results[0].different == 1
    with pytest.raises(ParityError) as caught:
        report.raise_on_difference()
    assert caught.value.exit_code == 1
    (problem,) = caught.value.problems
    assert (problem.code, problem.where) == ("DS2TA-301", name)
    assert problem.what == f"tampered computes {expected + 1} where reference has {expected} ({place})"


def test_every_runtime_that_differs_is_named(small_graph, small_inputs):
    runtimes = [Tampered(ReferenceRuntime(small_graph), name, (0, 0)) for name in ("head.logits", "patch.tokens", "head.logits")]
    runtimes[0].name = "first"
    report = compare(small_graph, small_inputs, *runtimes)
    with pytest.raises(ParityError) as caught:
        report.raise_on_difference()
    assert [problem.what.split()[0] for problem in caught.value.problems] == ["first", "tampered", "tampered"]
    assert [result.different for result in report.results] == [1, 96, 1]  # [0, 0] of tokens is 12 x 8 integers


@pytest.mark.parametrize("how", ["missing", "shape", "rank", "empty"])
def test_a_value_that_is_missing_or_of_another_shape_differs_in_every_integer(small_graph, small_inputs, batches_of, how):
    name = "blocks.0.attn.context"

    def change(trace, _start):
        match how:
            case "missing":
                del trace[name]
            case "shape":
                trace[name] = trace[name][..., :-1]
            case "rank":
                trace[name] = trace[name][None]
            case _:
                trace[name] = trace[name][:0]

    batches_of(2)
    report = compare(small_graph, small_inputs, Recorded(small_graph, change))
    assert report.results[0].different == trace_of(small_graph, small_inputs)[name].size
    with pytest.raises(ParityError, match=r"DS2TA-302 \[blocks\.0\.attn\.context\]: recorded gives no such value, or one of another shape"):
        report.raise_on_difference()


def test_there_is_no_tolerance_at_the_ends_of_int32(small_graph, small_inputs):
    expected = trace_of(small_graph, small_inputs)["head.logits"]
    for wrong in (expected.astype(np.int64) + 2**32, expected ^ np.int32(-(2**31)), -expected - 1):

        def change(trace, start, wrong=wrong):
            trace["head.logits"] = wrong[start : start + len(trace["head.logits"])]

        report = compare(small_graph, small_inputs, Recorded(small_graph, change))
        assert report.results[0].different == expected.size
        if wrong.dtype == np.int32:
            assert report.results[0].first.found == int(wrong[0, 0])


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.float64, np.uint32])
def test_the_right_numbers_in_another_type_are_wrong(small_graph, small_inputs, dtype):
    def change(trace, _start):
        trace["head.logits"] = trace["head.logits"].astype(dtype)

    report = compare(small_graph, small_inputs, Recorded(small_graph, change))
    assert report.results[0].different == 15
    with pytest.raises(ParityError, match=r"DS2TA-302 \[head\.logits\]"):
        report.raise_on_difference()


# --- silence ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "silent"), [(0.0, True), (0.005, True), (0.0051, False), (0.5, False), (0.9499, False), (0.95, True), (1.0, True)]
)
def test_layers_that_fire_too_little_or_too_much_are_named(rate, silent):
    report = ParityReport(1, "reference", [RuntimeResult("torch")], firing_rates={"a.spikes": rate, "b.spikes": 0.2})
    assert report.silent == ({"a.spikes": rate} if silent else {})


def test_a_network_that_does_not_fire_passes_and_is_named(small_graph, small_inputs):
    (neuron,) = [op for op in small_graph if op.name == "blocks.0.attn.proj"]
    deaf = dataclasses.replace(neuron, threshold=np.full_like(neuron.threshold, 2**30))
    graph = dataclasses.replace(small_graph, ops=tuple(deaf if op is neuron else op for op in small_graph))
    report = compare(graph, small_inputs, ReferenceRuntime(graph))
    assert report.passed
    assert report.silent["blocks.0.attn.proj.spikes"] == 0.0


# --- in short --------------------------------------------------------------------------------------------------------


def test_the_entries_for_the_manifest(small_graph, small_inputs):
    report = compare(small_graph, small_inputs, Tampered(ReferenceRuntime(small_graph), "head.logits", (1, 1)), wanted=["head.logits"])
    assert [(e.runtime, e.samples, e.values, e.integers, e.different) for e in report.entries()] == [
        ("tampered", 5, 1, 15, 1),
    ]
