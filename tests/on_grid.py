"""Networks whose real weights lie on an integer grid already: putting them on it changes nothing at all."""

import copy
from typing import Any

import torch
from torch import Tensor

from ds2ta_deploy.grid import fold_norm
from ds2ta_deploy.models.layers import ConvSynapses, DilatedSpikingConv2d, SpikingConv2d, SpikingLinear, Synapses
from ds2ta_deploy.models.network import SpikingTransformer
from ds2ta_deploy.models.saccade import Saccade


def moved_to_grid(model: SpikingTransformer) -> SpikingTransformer:
    """Return a float64 copy with weights and biases near the model's, all of them integers in the grid that is chosen for them.

    A channel's unit is a power of two, its largest weight 127 units (511 in the first layer): the integer threshold, which
    makes the largest weight 127, is then the real one in just these units. Layers that add into one stream share units.
    """
    moved = copy.deepcopy(model).double()
    spiking = [layer for layer in moved.modules() if isinstance(layer, SpikingLinear | SpikingConv2d)]
    groups = [[layer, layer.dilated] if isinstance(layer, DilatedSpikingConv2d) else [layer] for layer in spiking]
    alone = {id(layer) for group in groups for layer in group}
    stream = [layer for layer in moved.modules() if isinstance(layer, Synapses | ConvSynapses) and id(layer) not in alone]
    with torch.no_grad():
        for index, group in enumerate(groups):
            _move(group, 127 if index else 511)
        _move(stream, 127)
        for saccade in (module for module in moved.modules() if isinstance(module, Saccade)):
            saccade.matrix.copy_((saccade.matrix > 0.35).to(saccade.matrix).tril())  # zeros and ones are on any grid
            saccade.threshold.copy_(saccade.threshold.round())
    return moved


def _move(layers: list[Any], largest: int) -> None:
    """Put layers that share the unit of each channel on multiples of it."""
    if not layers:
        return
    folded = [fold_norm(layer) for layer in layers]
    peak = torch.cat([weight.flatten(1) for weight, _ in folded], dim=1).abs().amax(dim=1)
    unit = torch.exp2((peak / largest).log2().ceil())
    for index, (layer, (weight, bias)) in enumerate(zip(layers, folded, strict=True)):
        integers = (weight.flatten(1) / unit[:, None]).round()
        if index == 0:
            strongest = integers.abs().argmax(dim=1, keepdim=True)
            integers.scatter_(1, strongest, integers.gather(1, strongest).sign() * largest)
        _set(layer, (integers * unit[:, None]).view_as(weight), (bias / unit).round() * unit)


def _set(layer: Any, weight: Tensor, bias: Tensor) -> None:
    """Let the batch norm add the bias and do nothing else."""
    layer.weight.copy_(weight)
    norm = layer.norm
    norm.eps = 0.0
    norm.running_var.fill_(1.0)
    norm.running_mean.zero_()
    norm.weight.fill_(1.0)
    norm.bias.copy_(bias)
    if layer.bias is not None:
        layer.bias.zero_()
