import numpy as np
import pytest
from support import Tampered, frozen

from ds2ta_deploy import benchmark as benchmarking
from ds2ta_deploy.benchmark import benchmark
from ds2ta_deploy.errors import ParityError
from ds2ta_deploy.exporting import export
from ds2ta_deploy.runtimes.native.library import library_path
from ds2ta_deploy.runtimes.reference import ReferenceRuntime

needs_native = pytest.mark.skipif(library_path() is None, reason="needs the native library: a C compiler when installing")


@pytest.fixture
def artifact(small_graph, small_inputs, tmp_path):
    return export(frozen(small_graph), "onnx", tmp_path / "out", inputs=small_inputs)


def test_every_contestant_runs_in_every_setting(artifact, small_inputs):
    rounds = []
    timings = benchmark(
        artifact, ["reference", "onnxruntime"], small_inputs, batches=(1, 7), threads=(1, 2), repeats=3, progress=rounds.append
    )
    assert [(entry.runtime, entry.batch, entry.threads) for entry in timings] == [
        (name, batch, threads) for batch in (1, 7) for threads in (1, 2) for name in ("reference", "onnxruntime")
    ]
    for entry in timings:
        assert entry.repeats == 3
        assert 0 < entry.best <= entry.milliseconds
        assert entry.spread >= 0
        assert entry.open_milliseconds > 0
        assert entry.populations == {}
    assert rounds == [1, 2, 3] * 4


@needs_native
def test_the_native_runtime_tells_its_memory_and_populations(artifact, small_inputs, small_graph):
    (entry,) = benchmark(artifact, ["native"], small_inputs, repeats=2)
    assert entry.memory > 0
    assert list(entry.populations)[-1] == "head"
    assert "blocks.0.attn" in entry.populations


def test_one_repeat_has_no_spread(artifact, small_inputs):
    (entry,) = benchmark(artifact, ["reference"], small_inputs, repeats=1)
    assert entry.spread == 0
    assert entry.milliseconds == entry.best


def test_who_computes_something_else_is_not_timed(artifact, small_inputs, small_graph, monkeypatch):
    wrong = Tampered(ReferenceRuntime(small_graph), small_graph.output, (0, 0))
    monkeypatch.setattr(benchmarking, "open_runtime", lambda *_arguments, **_options: wrong)
    with pytest.raises(ParityError, match=r"DS2TA-301 .*other logits than reference"):
        benchmark(artifact, ["onnxruntime"], small_inputs, repeats=1)


def test_inputs_are_repeated_for_a_larger_batch(artifact, small_inputs, monkeypatch):
    seen = []
    trace = ReferenceRuntime.trace
    monkeypatch.setattr(ReferenceRuntime, "trace", lambda self, inputs, wanted: seen.append(inputs) or trace(self, inputs, wanted))
    benchmark(artifact, ["reference"], small_inputs, batches=(7,), repeats=1)
    assert all(np.array_equal(inputs, small_inputs[[0, 1, 2, 3, 4, 0, 1]]) for inputs in seen)
