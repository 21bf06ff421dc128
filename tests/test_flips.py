import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from builders import BUSIEST, EVENTS, QUIETEST, pixels_for, tiny_config
from family_configs import CONFIGS, changed
from on_grid import moved_to_grid

from ds2ta_deploy import flips
from ds2ta_deploy.errors import InputError, UnsupportedError, UsageError
from ds2ta_deploy.flips import LayerFlips, measure_flips
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.quantization import Quantization, quantize
from ds2ta_deploy.runtimes.pytorch import FloatRuntime, PytorchRuntime

COARSE = Quantization(weight_bits=4)


@pytest.mark.parametrize("name", ["spikformer-dvs", "sdt", "snn-vit-v1"])
def test_every_population_is_counted_once_whatever_the_batches(name, monkeypatch):
    monkeypatch.setattr(flips, "_BATCH", 2)
    model, pixels = random_network(CONFIGS[name], 2), pixels_for(CONFIGS[name], 5, 4)
    measured = measure_flips(model, pixels, COARSE)
    quantized = quantize(model, COARSE)
    graph = freeze(quantized)
    populations = [value for value in graph.types if value.endswith(".spikes")]
    trained, integer = FloatRuntime(model).trace(pixels, populations), PytorchRuntime(quantized, graph).trace(pixels, populations)
    by_hand = []
    for population in populations:
        before, after = (np.asarray(trace[population]).astype(int).ravel().tolist() for trace in (trained, integer))
        different = sum(one != other for one, other in zip(before, after, strict=True))
        by_hand.append(LayerFlips(population, len(before), different, sum(before), sum(after)))
    assert list(measured.layers) == by_hand
    assert {layer.name for layer in measured.layers} >= {"patch.stages.0.spikes", "blocks.1.mlp.fc1.spikes"}
    assert any(layer.flips for layer in measured.layers)
    same = sum(int(one.argmax() == other.argmax()) for one, other in zip(trained["head.logits"], integer["head.logits"], strict=True))
    assert (measured.samples, measured.same_decisions) == (5, same)


@pytest.mark.parametrize("name", [*CONFIGS, "ds2ta", "ds2ta-dvs"])
def test_weights_that_lie_on_the_grid_already_flip_no_spike(name):
    """What flips otherwise is rounding and nothing else: trained model and integers mean the same in every layer."""
    config = CONFIGS.get(name) or tiny_config(**(EVENTS if name.endswith("dvs") else {}))
    if config.input_kind == "images":
        config = changed(config, pixel_scale=1 / 256, pixel_mean=(0.0,), pixel_std=(1.0,))
    if name == "statten-dvs":
        config = changed(config, attention_scale=1 / 32)  # 1/36 is no binary number: the trained model itself would round
    model, pixels = moved_to_grid(random_network(config, 3)), pixels_for(config, 4, 5)
    measured = measure_flips(model, pixels, Quantization(stream_bits=8))
    assert {layer.name: layer.flips for layer in measured.layers if layer.flips} == {}
    rates = {layer.name: layer.float_spikes / layer.compared for layer in measured.layers}
    assert {name: rate for name, rate in rates.items() if not QUIETEST < rate < BUSIEST} == {}


def test_fewer_bits_flip_more(tiny_model, tiny_inputs):
    fine, coarse = (sum(layer.flips for layer in measure_flips(tiny_model, tiny_inputs, each).layers) for each in (None, COARSE))
    assert 0 < fine < coarse


def test_the_model_is_not_changed(tiny_model, tiny_inputs):
    before = {name: tensor.clone() for name, tensor in tiny_model.state_dict().items()}
    measure_flips(tiny_model, tiny_inputs[:1])
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny_model.state_dict().items())


def test_what_cannot_be_measured_is_named(tiny_model, tiny_quantized, tiny_inputs):
    with pytest.raises(UsageError, match="DS2TA-507"):
        measure_flips(tiny_model, tiny_inputs[:0])
    with pytest.raises(InputError, match="DS2TA-12"):
        measure_flips(tiny_model, tiny_inputs[:, 1:])
    with pytest.raises(UnsupportedError, match="DS2TA-202"):
        measure_flips(tiny_quantized, tiny_inputs)
