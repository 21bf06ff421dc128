import subprocess
import sys

import numpy as np
import pytest
from builders import assert_fires, trace_of

import ds2ta_deploy as dd

HEAVY = {"torch", "onnx", "onnxruntime", "safetensors", "numpy", "rich"}


def modules_after(program):
    """Return the top-level modules that a fresh Python has loaded after running a program."""
    report = "; import sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", program + report], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_imports_no_engine_and_not_even_numpy():
    assert not modules_after("import ds2ta_deploy as dd; dd.__version__; dir(dd)") & HEAVY


@pytest.mark.parametrize(
    "program",
    [
        "from ds2ta_deploy.graph import graph, populations, ranges, serialize",
        "from ds2ta_deploy.exporters.onnx import to_onnx",
        "from ds2ta_deploy.artifact import Artifact",
        "from ds2ta_deploy import export, verify, Artifact",
        "from ds2ta_deploy.runtimes import base, reference, table",
        "from ds2ta_deploy.models import config",
        "from ds2ta_deploy.importing import arguments, dialects, flags, options, published, settings, structure",
        "from ds2ta_deploy.cli import imports",
    ],
)
def test_what_needs_no_engine_imports_none(program):
    assert not modules_after(program) & {"torch", "onnxruntime", "openvino", "lava", "rich"}


def test_every_verb_is_there_and_does_what_its_home_says():
    assert dd.__all__ == sorted(dd.__all__)
    for name in dd.__all__:
        if name in {"Quantization", "freeze", "import_checkpoint", "load_checkpoint", "qat", "quantize", "save_checkpoint"}:
            pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
        verb = getattr(dd, name)
        assert verb.__name__ == name
        assert verb.__module__.startswith("ds2ta_deploy.")
        assert verb.__doc__


def test_the_verbs_are_listed():
    assert set(dd.__all__) <= set(dir(dd))
    assert set(dd.__all__) == {
        "Artifact", "Quantization", "export", "freeze", "import_checkpoint", "load_checkpoint", "open_stepper", "qat",
        "quantize", "save_checkpoint", "verify", "verify_steps"
    }  # fmt: skip


def test_what_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'ds2ta_deploy' has no attribute 'deploy'"):
        _ = dd.deploy
    assert not hasattr(dd, "__path_to_nowhere__")


def test_the_version_is_the_distributions():
    from importlib import metadata

    assert dd.__version__ == metadata.version("ds2ta-deploy")


def test_the_five_lines_of_the_docstring_work(tmp_path, monkeypatch, tiny_model, tiny_inputs):
    monkeypatch.chdir(tmp_path)
    dd.save_checkpoint(tiny_model, tmp_path / "ckpt.safetensors")
    lines = [line.strip() for line in dd.__doc__.splitlines() if line.startswith("    ")]
    assert len(lines) == 5
    names = {}
    exec("\n".join(lines), names)  # noqa: S102 - the documentation is what is tested
    assert names["report"].passed
    assert names["report"].results[0].runtime == "onnxruntime"
    assert names["report"].results[0].integers > 10_000
    assert names["artifact"].path == tmp_path / "build"
    assert_fires(trace_of(names["graph"], tiny_inputs))
    assert not names["report"].silent


def test_verifying_what_was_opened_by_hand(tmp_path, small_graph, small_inputs):
    artifact = dd.export(small_graph, out=tmp_path / "out", inputs=small_inputs)
    opened = dd.Artifact.open(tmp_path / "out")
    assert opened.manifest == artifact.manifest
    report = dd.verify(opened, runtimes=["onnxruntime"])
    assert report.passed
    assert [result.runtime for result in report.results] == ["onnxruntime", "onnxruntime-steps", "golden"]
    assert np.array_equal(report.output, trace_of(small_graph, small_inputs)["head.logits"])


def test_every_verb_stays_what_it_is_when_its_module_is_there():
    """A module of the same name would take the verb's place once it is imported."""
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
    for name in dd.__all__:
        assert callable(getattr(dd, name)), name
        assert getattr(dd, name) is getattr(dd, name)
