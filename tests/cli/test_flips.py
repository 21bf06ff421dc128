import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from ds2ta_deploy.flips import measure_flips
from ds2ta_deploy.quantization import Quantization


def test_a_line_a_layer(cli, tiny_checkpoint, tiny_data, tiny_model, tiny_inputs):
    measured = measure_flips(tiny_model, tiny_inputs, Quantization(weight_bits=4))
    shown = cli("flips", tiny_checkpoint, "--inputs", tiny_data, "--weight-bits", 4)
    assert (shown.code, shown.err) == (0, "")
    first, *lines, last = shown.out.splitlines()
    assert first.split() == ["layer", "flips", "fires", "in", "float", "in", "integers"]
    assert [line.split() for line in lines] == [
        [layer.name, *(f"{count / layer.compared:{form}}" for count, form in shown_counts(layer))] for layer in measured.layers
    ]
    share = measured.same_decisions / 4
    assert last == f"same decision for {measured.same_decisions} of 4 samples ({share:.1%})"


def shown_counts(layer):
    return (layer.flips, ".3%"), (layer.float_spikes, ".2%"), (layer.integer_spikes, ".2%")


def test_json(cli, tiny_checkpoint, tiny_data, tiny_model, tiny_inputs):
    measured = measure_flips(tiny_model, tiny_inputs)
    shown = cli("flips", tiny_checkpoint, "--inputs", tiny_data, "--json")
    assert (shown.code, shown.err) == (0, "")
    assert (shown.data["samples"], shown.data["same_decisions"]) == (4, measured.same_decisions)
    assert [layer["flips"] for layer in shown.data["layers"]] == [layer.flips for layer in measured.layers]
    assert shown.data["layers"][0].keys() == {"name", "compared", "flips", "float_spikes", "integer_spikes"}


def test_errors(cli, tiny_checkpoint, tiny_data, tmp_path):
    empty = tmp_path / "empty.npz"
    np.savez(empty, images=np.zeros((0, 12, 10, 1), np.uint8))
    assert cli("flips", tiny_checkpoint, "--inputs", empty).is_error(2, "DS2TA-507")
    assert cli("flips", tmp_path / "none", "--inputs", tiny_data).is_error(4, "DS2TA-101")
    assert cli("flips", tiny_checkpoint).code == 2
