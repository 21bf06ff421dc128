import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from builders import EVENTS, assert_fires, pixels_for, tiny_config
from family_configs import CONFIGS
from on_grid import moved_to_grid

from ds2ta_deploy.analysis.parts import list_parts, mix
from ds2ta_deploy.analysis.weights import weight_error
from ds2ta_deploy.grid import fold_norm
from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.models.layers import ConvSynapses, SpikingLinear, Synapses
from ds2ta_deploy.models.probe import Watch
from ds2ta_deploy.quantization import Quantization, quantize

COARSE = Quantization(weight_bits=4)
ALL = {**CONFIGS, "ds2ta": tiny_config(), "ds2ta-dvs": tiny_config(**EVENTS)}


def spikes_and_logits(model, pixels):
    """Return every spike and the logits, as NumPy arrays."""
    seen = {}
    with Watch(model, seen.__setitem__, lambda name: name.endswith((".spikes", ".logits"))), torch.inference_mode():
        model(torch.tensor(np.ascontiguousarray(pixels)))
    return {name: value.numpy().copy() for name, value in seen.items()}


@pytest.mark.parametrize("name", ALL)
def test_everything_on_the_grid_is_the_network_on_the_grid(name):
    model, pixels = random_network(ALL[name], 3), pixels_for(ALL[name], 3, 4)
    quantized = quantize(model, COARSE)
    expected = spikes_and_logits(quantized, pixels)
    found = spikes_and_logits(mix(model, quantized, [part.name for part in list_parts(model)]), pixels)
    assert_fires(found)
    assert found.keys() == expected.keys()
    assert [value for value in expected if not np.array_equal(found[value], expected[value])] == []


@pytest.mark.parametrize("name", ALL)
def test_nothing_on_the_grid_is_the_trained_network(name):
    """A stream is brought to the grid's unit, which is no power of two: a membrane on its threshold may round to either side."""
    model, pixels = random_network(ALL[name], 3), pixels_for(ALL[name], 3, 4)
    before = copy.deepcopy(model.state_dict())
    expected = spikes_and_logits(copy.deepcopy(model).double(), pixels)
    found = spikes_and_logits(mix(model, quantize(model, COARSE), ()), pixels)
    assert [value for value in expected if value.endswith(".spikes") and not np.array_equal(found[value], expected[value])] == []
    assert np.array_equal(found["head.logits"], expected["head.logits"])
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", ["ds2ta", "spikformer-statten", "sdt", "statten-dvs"])
def test_only_what_lies_behind_a_part_changes_with_it(name):
    model, pixels = random_network(ALL[name], 3), pixels_for(ALL[name], 3, 4)
    quantized = quantize(model, COARSE)
    parts = list_parts(model)
    trained = spikes_and_logits(mix(model, quantized, ()), pixels)
    order = list(trained)
    changed = set()
    for part in parts:
        found = spikes_and_logits(mix(model, quantized, [part.name]), pixels)
        first = order.index(part.spikes or "head.logits")
        assert [value for value in order[:first] if not np.array_equal(found[value], trained[value])] == [], part
        changed |= {part.name for value in order[first:] if not np.array_equal(found[value], trained[value])}
    coarse = {part.name for part in parts if part.kind in ("population", "readout")} - {"patch.stages.0"}  # whose weights have ten bits
    assert len(coarse) > 8
    assert coarse - changed == set()


def test_every_layer_with_weights_is_a_part_once():
    for name, config in ALL.items():
        model = random_network(config, 3)
        parts = [part.name for part in list_parts(model)]
        layers = [at for at, layer in model.named_modules() if isinstance(layer, Synapses | ConvSynapses) and not at.endswith(".dilated")]
        assert len(set(parts)) == len(parts), name
        assert [part for part in parts if part in layers] == [*sorted(layers, key=parts.index)], name
        assert parts[-1] == "head"


@pytest.mark.parametrize("name", ["ds2ta", "spikformer-cifar", "statten", "snn-vit-v2"])
def test_weights_that_lie_on_the_grid_have_no_error(name):
    model = moved_to_grid(random_network(ALL[name], 3))
    quantized = quantize(model, Quantization(stream_bits=8))
    errors = {part.name: weight_error(model, quantized, part) for part in list_parts(model) if part.name != "head"}
    assert {name for name, error in errors.items() if error is not None and error > 1e-12} <= {"patch.stages.0"}  # reads rounded pixels
    assert sum(error is not None for error in errors.values()) > 8


def test_the_weight_error_by_its_definition(tiny_model):
    quantized = quantize(tiny_model, COARSE)
    parts = {part.name: part for part in list_parts(tiny_model)}
    layer, grid = tiny_model.blocks[0].attn.q, quantized.blocks[0].attn.q
    assert isinstance(layer, SpikingLinear)
    folded, _ = fold_norm(layer)
    lost = whole = 0.0
    for row, integers, threshold in zip(folded.tolist(), grid.weight.tolist(), grid.neuron.threshold.tolist(), strict=True):
        unit = layer.neuron.effective_threshold / (threshold / grid.window.unit)
        lost += sum((integer * unit - real) ** 2 for integer, real in zip(integers, row, strict=True))
        whole += sum(real**2 for real in row)
    assert weight_error(tiny_model, quantized, parts["blocks.0.attn.q"]) == pytest.approx((lost / whole) ** 0.5)  # of real numbers
    errors = [
        weight_error(tiny_model, quantize(tiny_model, Quantization(weight_bits=bits)), parts["blocks.0.attn.q"]) for bits in (8, 6, 4)
    ]
    assert 0 < errors[0] < errors[1] < errors[2] < 0.5
    assert weight_error(tiny_model, quantized, parts["blocks.0.attn"]) is None
