"""The same network as a float32 PyTorch model, as it would be run without this package."""

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

from ds2ta_deploy.models.attention import GuardBits, Scale, SpikingAttention
from ds2ta_deploy.models.layers import SpikingConv2d, SpikingLinear
from ds2ta_deploy.models.network import SpikingTransformer
from ds2ta_deploy.models.neurons import IntegerLif, Lif
from ds2ta_deploy.models.windows import IntegerWindow, TemporalWindow


def float_model(quantized: SpikingTransformer, *, norms: bool) -> SpikingTransformer:
    """Return a float32 model of the trained kind that computes a quantized model's network.

    Neurons and windows are those of training, without floors; weights and thresholds are the grid's integers, stored
    as float32, so the logits can be compared. As long as float32 holds the numbers exactly they are equal.

    Args:
        quantized: what to compute.
        norms: whether batch norms stand apart, as after training, or are folded into the weights, which is faster.
            They change no number, but take the time that they take.

    """
    model = copy.deepcopy(quantized).float()
    for module in list(model.modules()):
        if isinstance(module, SpikingConv2d | SpikingLinear):
            _release_layer(module, norms=norms)
        elif isinstance(module, SpikingAttention):
            guard = cast("GuardBits", module.scale).guard_bits
            module.scale = Scale(1.0)
            module.neuron = _real_neuron(module.neuron, guard)
    return model.eval()


def _release_layer(layer: SpikingConv2d | SpikingLinear, *, norms: bool) -> None:
    """Put training's modules in the place of the integer ones."""
    guard = 0
    if isinstance(layer, SpikingLinear) and isinstance(layer.window, IntegerWindow):
        guard = layer.window.guard_bits
        layer.window = TemporalWindow(layer.window.taps, layer.window.decay)
    layer.neuron = _real_neuron(layer.neuron, guard)
    if norms:
        kind = nn.BatchNorm2d if isinstance(layer, SpikingConv2d) else nn.BatchNorm1d
        norm = kind(layer.weight.shape[0], eps=0.0)  # divides by one
        if isinstance(layer, SpikingConv2d):  # whose bias, in training, is the norm's
            norm.bias, layer.bias = nn.Parameter(cast("Tensor", layer.bias), requires_grad=False), None
        layer.norm = norm


def _real_neuron(neuron: nn.Module, guard_bits: int) -> Lif:
    """The neuron that leaks by a multiplication; it has a threshold a channel, which broadcasts like a number."""
    integer = cast("IntegerLif", neuron)
    real = Lif(membrane_time_constant=1.0 / (1.0 - integer.leak_numerator / 2**integer.leak_shift))
    cast("Any", real).threshold = integer.threshold.to(torch.float32) / 2**guard_bits
    return real
