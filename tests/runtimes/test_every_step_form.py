"""Every engine step by step on the bundled network, and one run that is killed on each engine and goes on on the next."""

from pathlib import Path

import pytest
from builders import build_small_graph
from lava_support import needs_lava
from step_support import assert_survives_kills
from support import frozen

from ds2ta_deploy.datasets import read_npz
from ds2ta_deploy.exporting import export
from ds2ta_deploy.runtimes.table import RUNTIMES
from ds2ta_deploy.step_verification import verify_steps
from ds2ta_deploy.targets import find_target

pytestmark = pytest.mark.slow

BUNDLED = Path(__file__).parents[2] / "examples" / "fashion_mnist" / "ds2ta-2-64"

#: Those that have a step form; the last two start a process a run.
ENGINES = [name for name, info in RUNTIMES.items() if info.step is not None and info.available]


@pytest.mark.parametrize(
    ("profile", "target", "runtimes", "steps"),
    [
        ("loihi", "all", ["onnxruntime", "lava-stepper", "c"], [1, 4, 10]),  # in 24 bits the logits may sum up 11 steps
        ("cpu", "onnx", ["onnxruntime"], [17, 40]),
        ("cpu", "c", ["c"], [17, 40]),
    ],
)
@needs_lava
def test_the_bundled_network_steps_on_every_engine(profile, target, runtimes, steps, tmp_path):
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
    import ds2ta_deploy as dd

    graph = dd.freeze(dd.quantize(dd.load_checkpoint(BUNDLED.with_suffix(".safetensors")), dd.Quantization(profile=profile)))
    pictures = read_npz(BUNDLED.with_suffix(".npz")).images[:3]
    artifact = export(graph, target, tmp_path / "out", inputs=pictures, runtimes=runtimes)
    engines = [name for name in ENGINES if RUNTIMES[name].executes in {"", *find_target(target).holds}]
    assert {"reference", *runtimes} <= set(engines)
    for count, report in verify_steps(artifact, steps, engines).items():
        assert [result.runtime for result in report.results] == engines
        assert all(result.different == 0 and result.integers > 50_000 * count for result in report.results)
        assert count < 4 or not report.silent


@needs_lava
def test_a_run_is_killed_on_each_engine_and_goes_on_on_the_next(tmp_path):
    artifact = export(frozen(build_small_graph(still=False)), "all", tmp_path / "out", runtimes=["onnxruntime", "lava-stepper", "c"])
    assert_survives_kills(ENGINES, artifact, tmp_path, steps=17)
