import json
from pathlib import Path

import numpy as np
import pytest
from builders import assert_fires, trace_of
from support import COMPARED, ELSEWHERE, NATIVE, ON_ONNX, STEPPED, copy_artifact, frozen, one_more, rewrite

from ds2ta_deploy.artifact import GOLDEN_HASHES, GOLDEN_INPUTS, MODEL, Artifact
from ds2ta_deploy.errors import InputError, MissingRuntimeError, ParityError, UsageError
from ds2ta_deploy.exporting import export
from ds2ta_deploy.graph.populations import population_values
from ds2ta_deploy.verification import available_runtimes, golden_inputs, verify, wanted_values


@pytest.fixture(scope="module")
def exported(small_graph, small_inputs, tmp_path_factory):
    """Return the directory of an artifact. Shared: copy before changing it."""
    return export(frozen(small_graph), "onnx", tmp_path_factory.mktemp("verification") / "out", inputs=small_inputs).path


@pytest.fixture
def changeable(exported, tmp_path):
    return copy_artifact(exported, tmp_path / "out")


# --- it is as exported -----------------------------------------------------------------------------------------------


def test_every_runtime_that_can_run_here_is_compared_and_the_recorded_hashes(exported, small_graph, small_inputs):
    assert_fires(trace_of(small_graph, small_inputs))
    report = verify(exported)
    assert report.passed
    assert report.baseline == "reference"
    assert [result.runtime for result in report.results] == [*COMPARED, "golden"]
    values = population_values(small_graph)
    integers = sum(trace_of(small_graph, small_inputs)[name].size for name in values)
    assert [(result.values, result.integers) for result in report.results] == [(len(values), integers)] * (len(COMPARED) + 1)


def test_an_artifact_may_be_opened_already_or_named(exported):
    for artifact in (exported, str(exported), Artifact.open(exported)):
        assert verify(artifact, ["onnxruntime"]).passed


def test_only_the_runtimes_asked_for(exported):
    for asked in (["onnx-reference"], "onnx-reference", ["onnx-reference", "reference", "onnx-reference"]):
        assert [result.runtime for result in verify(exported, asked).results] == ["onnx-reference", "golden"]
    for asked in (["reference"], []):
        assert [result.runtime for result in verify(exported, asked).results] == ["golden"]


def test_values_all_compares_everything(exported, small_graph):
    report = verify(exported, values="all")
    assert report.passed
    *engines, golden = report.results
    assert [result.values for result in engines] == [len(small_graph.observable)] * len(COMPARED)
    assert golden.values == len(population_values(small_graph))  # all that was recorded


def test_other_inputs_have_no_recorded_hashes(exported, small_inputs):
    report = verify(exported, ["onnxruntime"], inputs=small_inputs[1:4])
    assert report.passed
    assert report.samples == 3
    assert [result.runtime for result in report.results] == ["onnxruntime", STEPPED]


def test_progress_is_told(exported):
    told = []
    verify(exported, ["onnxruntime"], progress=told.append)
    assert told[-1] == 5


def test_the_golden_inputs_are_those_it_was_exported_with(exported, small_inputs):
    assert np.array_equal(golden_inputs(Artifact.open(exported)), small_inputs)


def test_what_is_wanted(small_graph):
    assert wanted_values(small_graph, "all") == small_graph.observable
    assert wanted_values(small_graph, "populations") == population_values(small_graph)
    assert set(population_values(small_graph)) < set(small_graph.observable)


def test_what_can_run_here(monkeypatch):
    assert available_runtimes("onnx", with_checkpoint=False) == ON_ONNX
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None if name == "onnxruntime" else object())
    assert available_runtimes("onnx", with_checkpoint=True) == ["torch", "onnx-reference", *NATIVE]
    assert available_runtimes("lava", with_checkpoint=False) == [*NATIVE, "lava", "lava-stepper"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    assert available_runtimes("onnx", with_checkpoint=True) == []
    assert available_runtimes("lava", with_checkpoint=False) == []
    assert available_runtimes("lava", with_checkpoint=False, lava_python=Path("python")) == ["lava"]


def test_the_torch_runtime_joins_when_there_is_a_checkpoint(tmp_path, tiny_model, tiny_graph, tiny_inputs):
    from ds2ta_deploy.checkpoints import save_checkpoint

    save_checkpoint(tiny_model, tmp_path / "tiny.safetensors")
    artifact = export(tiny_graph, "onnx", tmp_path / "out", inputs=tiny_inputs)
    assert_fires(trace_of(tiny_graph, tiny_inputs))
    report = verify(artifact, checkpoint=str(tmp_path / "tiny.safetensors"), values="all")
    assert report.baseline == "torch"
    assert [result.runtime for result in report.results] == ["reference", *COMPARED, "golden"]
    assert report.passed


# --- it is not -------------------------------------------------------------------------------------------------------


def test_a_changed_file_is_refused_before_anything_runs(changeable):
    rewrite(changeable, MODEL, b"changed")
    with pytest.raises(InputError, match=r"DS2TA-153 \[.*model\.onnx\]"):
        verify(changeable)


@pytest.mark.parametrize("weight", ["patch.stages.0.weight", "blocks.0.attn.v.weight", "head.bias", "blocks.0.attn.k.threshold"])
def test_one_changed_constant_is_found_where_it_first_matters(changeable, small_graph, small_inputs, weight):
    rewrite(changeable, MODEL, one_more((changeable / MODEL).read_bytes(), weight, 1))
    report = verify(Artifact.open(changeable, allow_modified=True), values="all")
    assert not report.passed
    *engines, golden = report.results
    runtime = engines[0]
    assert golden.different == 0
    assert runtime.different > 0
    assert [result.different for result in engines] == [0 if name in ELSEWHERE else runtime.different for name in COMPARED]
    assert runtime.first.value.startswith(weight.rsplit(".", 1)[0])
    expected = trace_of(small_graph, small_inputs)[runtime.first.value]
    sample, step, index = runtime.first.sample, runtime.first.step, runtime.first.index
    assert runtime.first.expected == expected[(sample, *index) if step is None else (step, sample, *index)] != runtime.first.found
    with pytest.raises(ParityError, match="DS2TA-301"):
        report.raise_on_difference()


def test_changed_hashes_are_found(changeable):
    hashes = json.loads((changeable / GOLDEN_HASHES).read_text())
    hashes["blocks.0.attn.spikes"] = "0" * 64
    rewrite(changeable, GOLDEN_HASHES, json.dumps(hashes).encode(), rehash=True)
    report = verify(changeable, ["onnxruntime"])
    assert [(result.runtime, result.different) for result in report.results] == [("onnxruntime", 0), (STEPPED, 0), ("golden", 1)]
    with pytest.raises(ParityError, match=r"DS2TA-304 \[blocks\.0\.attn\.spikes\]"):
        report.raise_on_difference()


@pytest.mark.parametrize("data", [b"garbage", b"[]", b"null", b'{"head.logits": 5}', b""])
def test_hashes_of_another_kind_are_refused(changeable, data):
    rewrite(changeable, GOLDEN_HASHES, data, rehash=True)
    with pytest.raises(InputError, match="DS2TA-157"):
        verify(changeable)


def test_every_value_between_populations_must_have_a_recorded_hash(changeable, small_graph):
    hashes = json.loads((changeable / GOLDEN_HASHES).read_text())
    del hashes["head.logits"]
    for recorded, missing in ((hashes, ["head.logits"]), ({}, list(population_values(small_graph)))):
        rewrite(changeable, GOLDEN_HASHES, json.dumps(recorded).encode(), rehash=True)
        with pytest.raises(InputError) as caught:
            verify(changeable, ["reference"])
        assert [(problem.code, problem.what) for problem in caught.value.problems] == [
            ("DS2TA-157", f"has no hash of {name}") for name in missing
        ]


def test_nothing_to_compare_is_refused(exported, small_inputs):
    with pytest.raises(UsageError, match="DS2TA-509"):
        verify(exported, ["reference"], inputs=small_inputs)


def test_golden_inputs_of_another_kind_are_refused(changeable):
    rewrite(changeable, GOLDEN_INPUTS, b"garbage", rehash=True)
    with pytest.raises(InputError, match="DS2TA-132"):
        verify(changeable)


def test_no_sample_is_refused(exported, small_inputs):
    with pytest.raises(UsageError, match="DS2TA-507"):
        verify(exported, inputs=small_inputs[:0])


@pytest.mark.parametrize(("change", "code"), [(lambda x: x.astype(float), "DS2TA-120"), (lambda x: x[:, :3], "DS2TA-121")])
def test_inputs_that_do_not_fit_are_refused(exported, small_inputs, change, code):
    with pytest.raises(InputError, match=code):
        verify(exported, inputs=change(small_inputs))


def test_runtimes_that_cannot_be_opened(exported, monkeypatch):
    with pytest.raises(UsageError, match="DS2TA-504"):
        verify(exported, ["nothing"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    with pytest.raises(MissingRuntimeError, match="DS2TA-401"):
        verify(exported, ["onnxruntime"])


def test_no_artifact(tmp_path):
    with pytest.raises(InputError, match="DS2TA-150"):
        verify(tmp_path)
