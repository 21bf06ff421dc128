import re

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from ds2ta_deploy.analysis.measure import analyze
from ds2ta_deploy.cli.analyze import analysis_json
from ds2ta_deploy.datasets import Labelled
from ds2ta_deploy.quantization import Quantization


@pytest.fixture(scope="module")
def analysis(tiny_model, tiny_inputs):
    return analyze(tiny_model, Labelled(tiny_inputs, np.arange(4)), Quantization(weight_bits=4))


def test_json(cli, tiny_checkpoint, tiny_data, analysis):
    shown = cli("analyze", tiny_checkpoint, "--data", tiny_data, "--weight-bits", 4, "--json")
    assert (shown.code, shown.err) == (0, "")
    assert shown.data == analysis_json(analysis)
    layer = next(layer for layer in shown.data["layers"] if layer["name"] == "blocks.0.attn.q")
    compared = analysis.compared["blocks.0.attn.q.spikes"]
    assert layer["alone"]["spike_flip_rate"] == round(layer["alone"]["spike_flips"] / compared, 6) > 0
    assert layer["cumulative"].keys() == layer["alone"].keys()
    assert shown.data["layers"][-1]["alone"]["spike_flips"] is None
    assert {"activation_sparsity", "populations", "samples", "schema", "top1_percent", "correct", "layers"} == shown.data.keys()


def test_a_line_a_layer_a_line_a_population_and_what_it_comes_to(cli, tiny_checkpoint, tiny_data, analysis):
    shown = cli("analyze", tiny_checkpoint, "--data", tiny_data, "--weight-bits", 4)
    assert (shown.code, shown.err) == (0, "")
    names = [line.split("│")[1].strip() for line in shown.out.splitlines() if line.startswith("│")]
    assert names == [layer.name for layer in analysis.layers] + [entry.name for entry in analysis.populations]
    last = analysis.layers[-1].cumulative
    assert f"same decision for {last.same_decisions} of 4 samples" in shown.out
    assert f"top-1 {25 * analysis.correct:.2f} % as trained, {25 * last.correct:.2f} % on the grid" in shown.out


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_a_picture(cli, tiny_checkpoint, tiny_data, tmp_path, suffix):
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'ds2ta-deploy[plot]'")
    path = tmp_path / f"layers.{suffix}"
    shown = cli("analyze", tiny_checkpoint, "--data", tiny_data, "--samples", 1, "--plot", path, "--json")
    assert (shown.code, shown.err) == (0, f"drew {path}\n")
    assert shown.data["samples"] == 1
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    if suffix == "svg":
        assert re.search(r"<!-- blocks\.0\.mlp\.fc1 -->", path.read_text())
    else:
        assert path.read_bytes().startswith(b"\x89PNG")


def test_errors(cli, tiny_checkpoint, tiny_data, tmp_path, monkeypatch):
    np.savez(tmp_path / "empty.npz", images=np.zeros((0, 12, 10, 1), np.uint8))
    np.savez(tmp_path / "wrong.npz", images=np.zeros((1, 12, 10, 1), np.uint8), labels=np.array([7]))
    assert cli("analyze", tiny_checkpoint, "--data", tmp_path / "empty.npz").is_error(2, "DS2TA-507")
    assert cli("analyze", tiny_checkpoint, "--data", tmp_path / "wrong.npz").is_error(4, "DS2TA-135")
    assert cli("analyze", tmp_path / "none", "--data", tiny_data).is_error(4, "DS2TA-101")
    assert cli("analyze", tiny_checkpoint, "--data", tiny_data, "--plot", tmp_path / "layers.gif").is_error(2, "DS2TA-530")
    assert cli("analyze", tiny_checkpoint, "--data", tiny_data, "--weight-bits", 1).code == 2
    assert cli("analyze", tiny_checkpoint).code == 2
    find = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "matplotlib" else find(name))
    shown = cli("analyze", tiny_checkpoint, "--data", tiny_data, "--plot", tmp_path / "layers.svg")
    assert shown.is_error(5, "DS2TA-411")
    assert "pip install 'ds2ta-deploy[plot]'" in shown.err
