"""Fine-tuning on the grid: what is trained is what is frozen, and its gradients are those of the trained model."""

import copy
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from builders import EVENTS, assert_fires, pixels_for, tiny_config, trace_of
from family_configs import CONFIGS, changed
from on_grid import moved_to_grid
from torch.nn import functional

import ds2ta_deploy as dd
from ds2ta_deploy.errors import UnsupportedError, UsageError
from ds2ta_deploy.fine_tuning import qat
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.graph import serialize
from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.quantization import Quantization, quantize

ALL = {"ds2ta": tiny_config(), **CONFIGS}


def trained_on(tuned, config, steps=3, batch=6, rate=5e-4):
    """Train a few steps on random pictures; returns the losses."""
    pixels = torch.from_numpy(pixels_for(config, batch, 8).copy())
    labels = torch.arange(batch) % config.num_classes
    optimizer = torch.optim.AdamW([parameter for parameter in tuned.parameters() if parameter.requires_grad], rate)
    losses = []
    for _ in range(steps):
        loss = functional.cross_entropy(tuned(pixels), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def integers_of(model):
    """Everything that a model on the grid computes with."""
    return {name: tensor.detach() for name, tensor in model.named_buffers()}


GRIDS: list[dict[str, Any]] = [
    {},
    {"weight_bits": 4},
    {"weights": {"*": "power-of-two", "head": 4}, "profile": "loihi", "thresholds": "layer"},
]


@pytest.mark.parametrize("settings", GRIDS, ids=str)
@pytest.mark.parametrize("name", ["ds2ta", "spikformer-cifar", "sdt-dvs", "statten", "snn-vit-v2"])
def test_what_is_trained_is_what_is_frozen(tmp_path, name, settings):
    config, grid = ALL[name], Quantization(**settings)
    model = random_network(config, 3)
    tuned = qat(model, grid)
    trained_on(tuned, config)
    trained_with = tuned.eval().on_grid()
    quantized = quantize(tuned.model, grid)
    left, right = integers_of(trained_with), integers_of(quantized)
    assert left.keys() == right.keys()
    assert [key for key in left if not torch.equal(left[key], right[key])] == []
    assert any(not torch.equal(before, right[key]) for key, before in integers_of(quantize(model, grid)).items())

    dd.save_checkpoint(tuned.model, tmp_path / "tuned.safetensors")  # and the file is a checkpoint like any other
    graph = freeze(quantize(dd.load_checkpoint(tmp_path / "tuned.safetensors"), grid))
    assert serialize.to_bytes(graph) == serialize.to_bytes(freeze(trained_with))
    pixels = pixels_for(config, 5, 9)
    trace = trace_of(graph, pixels)
    assert_fires(trace)
    with torch.no_grad():
        logits = tuned(torch.from_numpy(pixels.copy())).numpy()
    assert np.array_equal(logits, trace[graph.output] * graph.output_scale)


@pytest.mark.parametrize("name", ["spikformer-dvs", "sdt-dvs", "statten-dvs", "snn-vit-v1", "snn-vit-v2"])
def test_on_the_grid_already_the_gradients_are_those_of_the_trained_model(name):
    # One time step: a floored leak puts the surrogate a fraction of a unit elsewhere. Counts: their table is exact.
    config = changed(ALL[name], **EVENTS, time_steps=1, **({"chunk_steps": 1} if hasattr(ALL[name], "chunk_steps") else {}))
    model = moved_to_grid(random_network(config, 3))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        model.head.weight.copy_(torch.randint(-127, 128, model.head.weight.shape, generator=generator) / 128)
        model.head.weight[0, 0] = 127 / 128
        model.head.bias.zero_()
    tuned = qat(model.eval(), Quantization(stream_bits=8)).eval()  # which is where the network lies
    pixels = torch.from_numpy(pixels_for(config, 4, 0).copy())
    weighed = torch.randn(4, config.num_classes, generator=generator, dtype=torch.float64)
    for network in (model, tuned):
        network.zero_grad()
        (network(pixels) * weighed).sum().backward()
    found = {key: parameter.grad for key, parameter in tuned.model.named_parameters()}
    for key, parameter in model.named_parameters():
        assert torch.allclose(found[key], parameter.grad, rtol=1e-9, atol=1e-12), key
    assert sum(float(gradient.abs().sum()) > 0 for gradient in found.values()) > len(found) // 2


@pytest.mark.parametrize("name", ALL)
def test_every_parameter_but_tau_learns(name):
    tuned = qat(random_network(ALL[name], 2))
    tuned(torch.from_numpy(pixels_for(ALL[name], 4, 0).copy())).square().sum().backward()
    without = [key for key, value in tuned.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    fixed = [key for key, value in tuned.named_parameters() if not value.requires_grad]
    assert all(key.endswith("window.decay") for key in fixed)
    assert [key for key in without if key not in fixed] == []


def test_a_few_steps_lower_the_loss_and_leave_the_model_given_alone(tiny_model, tiny_config):
    before = {name: tensor.clone() for name, tensor in tiny_model.state_dict().items()}
    tuned = qat(tiny_model, Quantization(weight_bits=4))
    losses = trained_on(tuned, tiny_config, steps=30, rate=3e-3)
    assert losses[-1] < 0.5 * losses[0]
    assert all(torch.equal(before[name], tensor) for name, tensor in tiny_model.state_dict().items())
    assert tiny_model.quantization is None
    frozen = {name for name, tensor in tuned.model.state_dict().items() if torch.equal(tensor, before[name])}
    statistics = ("running_mean", "running_var", "num_batches_tracked", "window.decay")
    assert {name for name in before if name.endswith(statistics)} <= frozen


def test_training_and_evaluation_mode_fire_the_same_spikes(tiny_model, tiny_inputs):
    tuned, pixels = qat(tiny_model), torch.from_numpy(tiny_inputs.copy())
    with torch.no_grad():
        trained, scored = tuned.train()(pixels), tuned.eval()(pixels)
    assert (trained.dtype, scored.dtype) == (torch.float32, torch.float64)
    scale = quantize(tiny_model).head.scale
    assert torch.equal((trained.double() / scale).round(), (scored / scale).round())
    assert not any(module.training for module in tuned.train().model.modules())


def test_saved_and_loaded_training_goes_on_as_if_nothing_had_happened(tiny_model, tiny_config):
    whole, halved = qat(tiny_model), qat(tiny_model)
    whole.load_state_dict(copy.deepcopy(halved.state_dict()))
    assert trained_on(whole, tiny_config) == trained_on(halved, tiny_config)
    assert all(torch.equal(left, right) for left, right in zip(whole.parameters(), halved.parameters(), strict=True))


def test_a_quantized_model_is_refused(tiny_quantized):
    with pytest.raises(UnsupportedError, match="DS2TA-202"):
        qat(tiny_quantized)


def test_settings_out_of_range_are_refused(tiny_model):
    with pytest.raises(UsageError, match=r"DS2TA-510 \[weight_bits\]"):
        qat(tiny_model, Quantization(weight_bits=1))
