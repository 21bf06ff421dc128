import json
import math
from itertools import product

import numpy as np
import pytest
from builders import assert_fires, trace_of
from hypothesis import given
from hypothesis import strategies as st
from support import ON_ONNX, Tampered, copy_artifact, frozen, one_more, replaced, rewrite, spiking_chain

from ds2ta_deploy import parity
from ds2ta_deploy.artifact import GOLDEN_HASHES, GOLDEN_VALUES, GRAPH, MODEL, Artifact
from ds2ta_deploy.bisection.search import bisect, first_divergence, search
from ds2ta_deploy.bisection.sides import Side
from ds2ta_deploy.datasets import npz_bytes, read_arrays
from ds2ta_deploy.errors import InputError, MissingRuntimeError, UsageError
from ds2ta_deploy.exporting import export
from ds2ta_deploy.graph import serialize
from ds2ta_deploy.parity import Divergence
from ds2ta_deploy.runtimes.base import Runtime
from ds2ta_deploy.runtimes.reference import ReferenceRuntime

# --- the order, by brute force ---------------------------------------------------------------------------------------

GRAPH_OF_PAIRS, INPUTS_OF_PAIRS = spiking_chain(2, window=(2, 1, 1))
TRACE = trace_of(GRAPH_OF_PAIRS, INPUTS_OF_PAIRS)
STEPS, SAMPLES = 2, INPUTS_OF_PAIRS.shape[1]


def first_by_brute_force(expected, found, start):
    """Go through the integers as the order says, one after another; values without time after all time steps."""
    pair = ("other", "baseline")
    for sample, step in product(range(SAMPLES), (*range(STEPS), None)):
        for value in GRAPH_OF_PAIRS.observable:
            timeless = GRAPH_OF_PAIRS.types[value].shape[0] is None
            if timeless != (step is None):
                continue
            if value not in found:
                return Divergence(*pair, value, start, None, (), None, None)
            place = (sample,) if timeless else (step, sample)
            want, have = expected[value][place], found[value][place]
            for index in np.ndindex(want.shape):
                if want[index] != have[index]:
                    return Divergence(*pair, value, start + sample, step, index, int(want[index]), int(have[index]))
    return None


@st.composite
def other_traces(draw):
    """Traces with a few integers changed anywhere, and now and then a value missing."""
    found = {name: value.copy() for name, value in TRACE.items()}
    for _ in range(draw(st.integers(0, 5))):
        value = found[draw(st.sampled_from(sorted(found)))]
        place = tuple(draw(st.integers(0, size - 1)) for size in value.shape)
        value[place] += 1
    if draw(st.integers(0, 5)) == 0:
        del found[draw(st.sampled_from(sorted(found)))]
    return found


@given(found=other_traces(), start=st.integers(0, 100))
def test_the_first_divergence_is_that_of_the_definition(found, start):
    result = first_divergence(("other", "baseline"), TRACE, found, GRAPH_OF_PAIRS, start)
    expected = first_by_brute_force(TRACE, found, start)
    assert (None if result is None else result[1]) == expected
    if result is not None:
        sample, step, position, index = result[0]
        assert (sample, GRAPH_OF_PAIRS.observable[position], index) == (expected.sample, expected.value, expected.index)
        assert step == (math.inf if expected.value == "head.logits" else expected.step or 0)


@given(found=other_traces())
def test_what_only_one_side_has_does_not_differ_when_it_need_not_have_it(found):
    kept = {name: value for name, value in TRACE.items() if name in found}
    partial = first_divergence(("other", "baseline"), TRACE, found, GRAPH_OF_PAIRS, partial=True)
    assert partial == first_divergence(("other", "baseline"), kept, found, GRAPH_OF_PAIRS)


@given(data=st.data())
def test_the_search_finds_what_one_look_at_all_samples_finds(data):
    """Chunk after chunk, several sides: the first of all sides is found, and the named side is the earliest."""
    others = [data.draw(other_traces()) for _ in range(2)]

    def side(name, trace):
        def part(start, batch):
            samples = range(start, start + batch.shape[1])
            return {value: array.take(samples, GRAPH_OF_PAIRS.types[value].shape.index(None)) for value, array in trace.items()}

        return Side(name, part, ReferenceRuntime(GRAPH_OF_PAIRS))

    sides = [side(f"side {number}", trace) for number, trace in enumerate(others)]
    result = search(GRAPH_OF_PAIRS, INPUTS_OF_PAIRS, side("baseline", TRACE), sides)
    expected = [first_divergence((f"side {number}", "baseline"), TRACE, trace, GRAPH_OF_PAIRS) for number, trace in enumerate(others)]
    differing = [found for found in expected if found is not None]
    assert result.divergence == (min(differing, key=lambda found: found[0])[1] if differing else None)


# --- what is kept of the sample --------------------------------------------------------------------------------------


def sides_of(*runtimes, wanted=GRAPH_OF_PAIRS.observable):
    return [Side(runtime.name, lambda _start, batch, runtime=runtime: runtime.trace(batch, wanted), runtime) for runtime in runtimes]


@pytest.mark.parametrize("sample", range(4))
def test_both_sides_values_of_the_sample_are_kept(sample):
    honest = ReferenceRuntime(GRAPH_OF_PAIRS)
    told = []

    class Late(Runtime):
        """Wrong on one sample only."""

        name = "late"

        def trace(self, inputs, wanted):
            if not (inputs == INPUTS_OF_PAIRS[:, sample : sample + 1]).all(axis=(0, 2, 3, 4)).any():
                return honest.trace(inputs, wanted)
            place = int(np.argmax((inputs == INPUTS_OF_PAIRS[:, sample : sample + 1]).all(axis=(0, 2, 3, 4))))
            return Tampered(honest, "linear.current", (1, place, 7, 2)).trace(inputs, wanted)

    baseline, late = sides_of(honest, Late())
    result = search(GRAPH_OF_PAIRS, INPUTS_OF_PAIRS, baseline, [late], progress=told.append)
    integer = int(TRACE["linear.current"][1, sample, 7, 2])
    assert result.divergence == Divergence("late", "reference", "linear.current", sample, 1, (7, 2), integer, integer + 1)
    assert told == {0: [], 1: [1], 2: [1], 3: [1, 3]}[sample]  # one sample, then two, then the last one
    located = result.located
    assert set(located.expected) == set(located.found) == {*GRAPH_OF_PAIRS.observable, "images"}
    for name, value in {**TRACE, "images": INPUTS_OF_PAIRS}.items():
        one = value.take([sample], GRAPH_OF_PAIRS.types[name].shape.index(None))
        assert np.array_equal(located.expected[name], one)
        assert np.array_equal(located.found[name], one) == (name != "linear.current")


def test_a_missing_value_is_the_first_divergence_and_there_is_nothing_to_look_at():
    honest = ReferenceRuntime(GRAPH_OF_PAIRS)
    (baseline,) = sides_of(honest)
    (less,) = sides_of(honest, wanted=[name for name in GRAPH_OF_PAIRS.observable if name != "conv.membrane"])
    result = search(GRAPH_OF_PAIRS, INPUTS_OF_PAIRS, baseline, [less])
    assert (result.divergence.value, result.divergence.found, result.located) == ("conv.membrane", None, None)
    assert result.divergence.problem().code == "DS2TA-302"


@pytest.mark.parametrize("change", [lambda value: value[..., 0], lambda value: value.astype(np.int64), lambda value: value[:, :, :-1]])
def test_a_baseline_that_is_not_what_the_graph_says_is_the_one_that_differs(change):
    """Even when the other side agrees with it."""
    strange = {**TRACE, "conv.current": change(TRACE["conv.current"])}
    order, divergence = first_divergence(("other", "baseline"), strange, strange, GRAPH_OF_PAIRS)
    assert (order[1], divergence.found) == (0, None)
    assert (divergence.runtime, divergence.baseline, divergence.value) == ("baseline", "other", "conv.current")


def test_no_sample_is_refused():
    (baseline,) = sides_of(ReferenceRuntime(GRAPH_OF_PAIRS))
    with pytest.raises(UsageError, match="DS2TA-507"):
        search(GRAPH_OF_PAIRS, INPUTS_OF_PAIRS[:, :0], baseline, [])


# --- artifacts -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(small_graph, small_inputs, tmp_path_factory):
    """Return the directory of an artifact. Shared: copy before changing it."""
    return export(frozen(small_graph), "onnx", tmp_path_factory.mktemp("bisection") / "out", inputs=small_inputs).path


@pytest.fixture
def changeable(exported, tmp_path):
    return copy_artifact(exported, tmp_path / "out")


def test_nothing_differs(exported, small_graph, small_inputs):
    assert_fires(trace_of(small_graph, small_inputs))
    told = []
    result = bisect(Artifact.open(exported), progress=told.append)
    assert (result.divergence, result.located) == (None, None)
    assert (result.samples, result.values, result.baseline) == (5, len(small_graph.observable), "reference")
    assert result.runtimes == (*ON_ONNX, "golden")
    assert told == [1, 3, 5]


def test_no_more_samples_at_once_than_fit_the_memory(exported, monkeypatch):
    monkeypatch.setattr(parity, "_MEMORY_BUDGET", 1)
    told = []
    assert bisect(Artifact.open(exported), "onnxruntime", progress=told.append).divergence is None
    assert told == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("onnxruntime",), ("reference", ("onnxruntime",))),
        (("golden",), ("reference", ("golden",))),
        (("golden", "onnxruntime"), ("onnxruntime", ("golden",))),
        (("onnx-reference", "onnxruntime"), ("onnxruntime", ("onnx-reference",))),
        ((None, "onnxruntime"), ("onnxruntime", ("reference", *ON_ONNX[1:], "golden"))),
        (("reference", "onnx-reference"), ("onnx-reference", ("reference",))),
    ],
)
def test_any_two_can_be_compared(exported, arguments, expected):
    result = bisect(Artifact.open(exported), *arguments)
    assert (result.baseline, result.runtimes, result.divergence) == (*expected, None)


def test_other_inputs_have_nothing_recorded(exported, small_inputs):
    result = bisect(Artifact.open(exported), inputs=small_inputs[2:4])
    assert (result.samples, result.runtimes) == (2, (*ON_ONNX,))
    with pytest.raises(UsageError, match=r"DS2TA-504 \[golden\]"):
        bisect(Artifact.open(exported), "golden", inputs=small_inputs)


def test_wrong_use(exported, small_inputs, monkeypatch):
    artifact = Artifact.open(exported)
    for arguments, code in (
        (("reference",), 509),
        (("nothing",), 504),
        ((None, "nothing"), 504),
        ((None, "golden"), 504),
        (("torch",), 503),
    ):
        with pytest.raises(UsageError, match=f"DS2TA-{code}"):
            bisect(artifact, *arguments)
    with pytest.raises(InputError, match="DS2TA-121"):
        bisect(artifact, inputs=small_inputs[:, :3])
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    with pytest.raises(MissingRuntimeError, match="DS2TA-401"):
        bisect(artifact, "onnxruntime")


def test_a_weight_that_changes_a_product_and_no_spike_is_found(changeable, small_graph, small_inputs):
    """The threshold is far away, so that the populations agree on every sample, and verify finds nothing."""
    from ds2ta_deploy.verification import verify

    trace = trace_of(small_graph, small_inputs)
    data = (changeable / MODEL).read_bytes()
    for index in range(128):  # weights of [8 inputs, 16 channels]
        rewrite(changeable, MODEL, one_more(data, "blocks.0.mlp.fc1.weight", index))
        artifact = Artifact.open(changeable, allow_modified=True)
        if trace["blocks.0.attn_residual"][..., index // 16].any() and verify(artifact, "onnxruntime", values="populations").passed:
            break
    else:
        raise AssertionError("every weight changes a spike: choose another layer")
    result = bisect(artifact, "onnxruntime")
    assert result.divergence.value == "blocks.0.mlp.fc1.product"
    assert result.divergence.index[-1] == index % 16


@pytest.fixture
def other_graph(changeable, small_graph):
    """Change a weight of the graph file; returns the artifact and where its value was recorded otherwise."""
    op = next(op for op in small_graph if op.name == "patch.position.weights")
    weight = op.weight.copy()
    weight[:, 1, 1] = -weight[:, 1, 1]
    rewrite(changeable, GRAPH, serialize.to_bytes(replaced(frozen(small_graph), op.name, weight=weight)), rehash=True)
    return Artifact.open(changeable)


def test_a_fault_in_the_graph_is_found_against_the_exported_file(other_graph):
    divergence = bisect(other_graph).divergence
    assert (divergence.runtime, divergence.value, divergence.sample, divergence.step) == ("onnxruntime", "patch.position.product", 0, 0)


def test_a_fault_in_both_is_found_against_what_was_recorded(other_graph, small_graph, small_inputs):
    from ds2ta_deploy.exporters.onnx import to_onnx

    path = rewrite(other_graph.path, MODEL, to_onnx(other_graph.graph).SerializeToString(deterministic=True), rehash=True)
    result = bisect(Artifact.open(path))
    now, before = (trace_of(graph, small_inputs)["patch.position.spikes"][:, 0] for graph in (other_graph.graph, small_graph))
    step, *index = (int(position) for position in np.argwhere(now != before)[0])
    want, have = int(now[step, *index]), int(before[step, *index])
    assert result.divergence == Divergence("golden", "reference", "patch.position.spikes", 0, step, tuple(index), want, have)
    assert result.located is not None


def test_a_later_sample_that_is_not_what_was_recorded_has_no_place(changeable):
    hashes = json.loads((changeable / GOLDEN_HASHES).read_text())
    hashes["blocks.0.attn.spikes"] = "0" * 64
    rewrite(changeable, GOLDEN_HASHES, json.dumps(hashes).encode(), rehash=True)
    result = bisect(Artifact.open(changeable))
    assert result.divergence.problem().code == "DS2TA-304"
    assert (result.divergence.value, result.located) == ("blocks.0.attn.spikes", None)


def test_logits_of_every_sample_are_recorded(changeable):
    values = read_arrays(changeable / GOLDEN_VALUES, Artifact.open(changeable).graph.observable)
    values["head.logits"][3, 1] += 1
    rewrite(changeable, GOLDEN_VALUES, npz_bytes(values), rehash=True)
    divergence = bisect(Artifact.open(changeable)).divergence
    integer = int(values["head.logits"][3, 1])
    assert divergence == Divergence("golden", "reference", "head.logits", 3, None, (1,), integer - 1, integer)
    words = f"DS2TA-304 [head.logits]: reference computes {integer - 1} where {integer} was recorded (sample 3, index [1])"
    assert str(divergence.problem()) == words


@pytest.mark.parametrize("how", ["garbage", "empty", "no logits", "a number", "another shape", "another type", "fewer samples"])
def test_recorded_values_of_another_kind(changeable, how):
    values = read_arrays(changeable / GOLDEN_VALUES, Artifact.open(changeable).graph.observable)
    match how:
        case "no logits":
            del values["head.logits"]
        case "a number":
            values["head.logits"] = np.int32(1)
        case "another shape":
            values["patch.tokens"] = values["patch.tokens"][..., 0]
        case "another type":
            values["patch.tokens"] = values["patch.tokens"].astype(np.int64)
        case "fewer samples":
            values["head.logits"] = values["head.logits"][:2]
    data = {"garbage": b"garbage", "empty": npz_bytes({})}.get(how, npz_bytes(values))
    artifact = Artifact.open(rewrite(changeable, GOLDEN_VALUES, data, rehash=True))
    code = {"garbage": 132, "empty": 133, "no logits": 133}.get(how, 157)
    with pytest.raises(InputError, match=rf"DS2TA-{code} \[.*expected\.npz\]"):
        bisect(artifact)


def test_with_the_checkpoint_pytorch_is_the_baseline(tmp_path, tiny_model, tiny_graph, tiny_inputs):
    from ds2ta_deploy.checkpoints import save_checkpoint

    save_checkpoint(tiny_model, tmp_path / "tiny.safetensors")
    artifact = export(tiny_graph, "onnx", tmp_path / "out", inputs=tiny_inputs, checkpoint=tmp_path / "tiny.safetensors")
    assert_fires(trace_of(tiny_graph, tiny_inputs))
    result = bisect(artifact, checkpoint=tmp_path / "tiny.safetensors")
    assert (result.baseline, result.runtimes, result.divergence) == (
        "torch",
        ("reference", *ON_ONNX, "golden"),
        None,
    )
    op = next(op for op in tiny_graph if op.name == "blocks.0.attn.denoiser")
    table = op.table.copy()
    scores = trace_of(tiny_graph, tiny_inputs)["blocks.0.attn.scores"][:, 0]
    step, head, query, key = (int(position) for position in np.argwhere(scores[:, 2:3] == 1)[0] + [0, 2, 0, 0])
    table[2, 1] += 1
    rewrite(artifact.path, GRAPH, serialize.to_bytes(replaced(tiny_graph, op.name, table=table)))
    changed = Artifact.open(artifact.path, allow_modified=True)
    divergence = bisect(changed, "reference", checkpoint=tmp_path / "tiny.safetensors").divergence
    first = int(op.table[2, 1])
    assert divergence == Divergence("reference", "torch", "blocks.0.attn.denoised", 0, step, (head, query, key), first, first + 1)
    assert bisect(changed, "onnxruntime", checkpoint=tmp_path / "tiny.safetensors").divergence is None


def test_a_table_entry_in_a_process_graph_is_found(small_graph, small_inputs, tmp_path):
    """The search knows nothing of targets: what runs the files of this one is compared like any other."""
    scores = trace_of(small_graph, small_inputs)["blocks.0.attn.scores"]
    artifact = export(frozen(small_graph), "lava", tmp_path / "out", inputs=small_inputs, runtimes="lava-stepper")
    path = artifact.path / "lava" / "tensors.npz"
    tensors = read_arrays(path, [f"{op.name}/{name}" for op in small_graph for name in op.ARRAYS])
    head, entry = 1, int(scores[0, 0, 1, 0, 0])
    tensors["blocks.0.attn.denoiser/table"][head, entry] += 1
    path.write_bytes(npz_bytes(tensors))
    result = bisect(Artifact.open(artifact.path, allow_modified=True), "lava-stepper")
    divergence = result.divergence
    assert (divergence.runtime, divergence.value) == ("lava-stepper", "blocks.0.attn.denoised")
    assert (divergence.sample, divergence.step) == (0, 0)
    assert divergence.index == tuple(
        int(place) for place in np.argwhere(scores[0, 0] == entry)[np.argwhere(scores[0, 0] == entry)[:, 0] == head][0]
    )
    assert divergence.found == divergence.expected + 1
