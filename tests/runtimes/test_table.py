import importlib.util

import pytest
from support import frozen

from ds2ta_deploy.artifact import GRAPH, Artifact
from ds2ta_deploy.errors import InputError, MissingRuntimeError, UsageError
from ds2ta_deploy.graph import serialize
from ds2ta_deploy.runtimes import base, table
from ds2ta_deploy.runtimes.base import require_known
from ds2ta_deploy.runtimes.table import RUNTIMES, open_runtime, require_torch
from ds2ta_deploy.staging import stage


@pytest.fixture(scope="module")
def graph_only(tmp_path_factory, small_graph):
    """Return an artifact that holds the graph and no model."""
    from support import some_manifest

    with stage(tmp_path_factory.mktemp("table") / "out") as staging:
        staging.write({GRAPH: serialize.to_bytes(frozen(small_graph))})
        return staging.commit(some_manifest())


@pytest.fixture
def without(monkeypatch):
    """Return a function that makes modules look as if they were not installed."""
    found = importlib.util.find_spec

    def hide(*names):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None if name in names else found(name, package))

    return hide


def test_the_runtimes_are_those_promised_the_baseline_first():
    assert list(RUNTIMES) == [
        *("reference", "torch", "onnxruntime", "onnx-reference", "native", "onnxruntime-native", "c", "lava", "lava-stepper")
    ]
    assert [name for name, info in RUNTIMES.items() if info.needs_checkpoint] == ["torch"]
    assert all(
        info.about and info.install.startswith(("pip install ", "ds2ta lava install", "apt-get install ")) and info.needs
        for info in RUNTIMES.values()
    )
    assert all(name == info.name for name, info in RUNTIMES.items())


def test_each_opens_as_what_it_says(graph_only):
    assert open_runtime("reference", graph_only).name == "reference"


def test_a_runtime_that_does_not_exist(graph_only):
    with pytest.raises(UsageError, match=r"DS2TA-504: there is no runtime 'tensorrt' .*reference, torch, onnxruntime, onnx-reference"):
        open_runtime("tensorrt", graph_only)


def test_an_artifact_without_a_model(graph_only):
    with pytest.raises(InputError, match=r"DS2TA-152 .*has no model\.onnx"):
        open_runtime("onnxruntime", graph_only)


@pytest.mark.parametrize(
    ("runtime", "module", "command"),
    [
        ("onnxruntime", "onnxruntime", "pip install ds2ta-deploy"),
        ("onnxruntime", "onnx", "pip install ds2ta-deploy"),
        ("onnx-reference", "onnx", "pip install ds2ta-deploy"),
        ("torch", "torch", "pip install 'ds2ta-deploy[torch]'"),
        ("lava", "lava", "ds2ta lava install"),
    ],
)
def test_a_runtime_that_is_not_installed_says_the_one_command(graph_only, without, runtime, module, command):
    without(module)
    assert not RUNTIMES[runtime].available
    with pytest.raises(MissingRuntimeError) as caught:
        open_runtime(runtime, graph_only)
    assert caught.value.exit_code == 5
    (problem,) = caught.value.problems
    assert (problem.code, problem.mend) == ("DS2TA-401", command)
    assert runtime in problem.what


def test_reading_a_checkpoint_without_pytorch_says_the_one_command(without):
    without("torch")
    with pytest.raises(MissingRuntimeError, match=r"DS2TA-401: .*pip install 'ds2ta-deploy\[torch\]'"):
        require_torch()


def test_the_runtime_torch_needs_the_checkpoint(graph_only):
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
    with pytest.raises(UsageError, match=r"DS2TA-503: .*--checkpoint FILE"):
        open_runtime("torch", graph_only)


def test_every_unknown_value_is_named_at_once(small_graph):
    require_known(small_graph, [*small_graph.observable])
    with pytest.raises(UsageError) as caught:
        require_known(small_graph, ["head.logits", "blocks.7.attn.spikes", "images", "blocks.0.attn._mixed"])
    assert [(problem.code, problem.where) for problem in caught.value.problems] == [
        ("DS2TA-505", "blocks.7.attn.spikes"),
        ("DS2TA-505", "images"),
        ("DS2TA-505", "blocks.0.attn._mixed"),
    ]


def test_what_needs_no_engine_imports_none():
    # the module was imported long ago; its own namespace must not hold an engine
    assert not {"onnx", "onnxruntime", "torch"} & {*vars(base), *vars(table)}


def test_an_opened_artifact_gives_the_graph_it_holds(graph_only, small_graph):
    assert isinstance(graph_only, Artifact)
    assert graph_only.graph.types == small_graph.types
