"""Run a published network and ours on the same pixels, and lay the spikes of both side by side."""

import copy
from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from numpy.typing import NDArray
from published.names import neuron_name
from spikingjelly.activation_based import functional
from spikingjelly.activation_based.neuron import LIFNode
from torch import Tensor, nn

from ds2ta_deploy.grid import fold_norm
from ds2ta_deploy.models.layers import ConvSynapses, Synapses
from ds2ta_deploy.models.network import SpikingTransformer
from ds2ta_deploy.models.probe import Watch
from ds2ta_deploy.quantizing.layers import set_synapses

Spikes = dict[str, Tensor]


def our_values(model: SpikingTransformer, pixels: NDArray, wanted: Callable[[str], bool] = lambda name: name.endswith(".spikes")) -> Spikes:
    """Return values of our network by name, channels last, and the logits."""
    seen: Spikes = {}
    with Watch(model, seen.__setitem__, lambda name: wanted(name) or name == "head.logits"), torch.inference_mode():
        model(torch.from_numpy(pixels.copy()))
    return seen


def published_spikes(network: nn.Module, model: SpikingTransformer, pixels: NDArray, *, membranes: bool) -> Spikes:
    """Return the spikes of the published network under our names, as its layers put them out, and the logits.

    The pixels are normalised by our encoder: that is the data pipeline's task where the networks were published.
    """
    seen: Spikes = {}

    def keep(name: str, _layer: nn.Module, _inputs: object, spikes: Tensor) -> None:
        seen[neuron_name(name, membranes=membranes)] = spikes

    hooks = [module.register_forward_hook(partial(keep, name)) for name, module in network.named_modules() if isinstance(module, LIFNode)]
    functional.reset_net(network)
    with torch.inference_mode():
        seen["head.logits"] = network(model.encoder(torch.from_numpy(pixels.copy())).movedim(-1, -3))
    for hook in hooks:
        hook.remove()
    return seen


def as_ours(spikes: Tensor, like: Tensor, *, tokens_first: bool) -> Tensor:
    """Lay out published spikes as ours are: channels last, pictures flattened to tokens where ours are tokens."""
    if spikes.dim() == 5 and spikes.shape[3] == 1 and like.shape[2] == 1:
        return spikes.transpose(2, 3).flatten(3).view_as(like)  # a gate: [T, B, heads, 1, d] -> [T, B, 1, D]
    if spikes.dim() == 5:
        last = spikes.movedim(2, -1)
        return last.flatten(2, 3) if like.dim() == 4 else last
    if spikes.dim() == 3:
        return spikes.unsqueeze(2)  # neurons of a mean over tokens
    return spikes if tokens_first else spikes.transpose(2, 3)


def differences(published: Spikes, ours: Spikes, *, tokens_first: bool = False) -> dict[str, int]:
    """Count the differing spikes of every population that has any."""
    assert published.keys() == ours.keys()
    found = {}
    for name, mine in ours.items():
        if name != "head.logits":
            theirs = as_ours(published[name], mine, tokens_first=tokens_first)
            assert theirs.shape == mine.shape, name
            found[name] = int((theirs != mine).sum())
    return {name: count for name, count in found.items() if count}


def folded(model: SpikingTransformer) -> SpikingTransformer:
    """Return a copy in the same precision whose batch norms are folded into weights and biases, each rounded once."""
    copied = copy.deepcopy(model)
    for layer in copied.modules():
        if isinstance(layer, Synapses | ConvSynapses):
            weight, bias = fold_norm(layer)
            set_synapses(layer, weight.detach().to(layer.weight.dtype), bias.detach().to(layer.weight.dtype))
    return copied


def exactly_representable(model: SpikingTransformer) -> SpikingTransformer:
    """Return a copy with weights near the model's, such that float32 rounds nothing, and thresholds are met exactly.

    Weights, means and shifts are multiples of 1/64, gains powers of two, variances 1, epsilons 0. Whatever order an engine
    adds in, it gets the same numbers: what differs then differs in meaning.
    """
    copied = copy.deepcopy(model)
    for layer in copied.modules():
        if isinstance(layer, Synapses | ConvSynapses):
            norm = cast("nn.BatchNorm1d", layer.norm)
            gain = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach()
            norm.weight.data = torch.exp2(gain.abs().log2().round())
            norm.running_var = torch.ones_like(norm.running_var)
            norm.eps = 0.0
            for tensor in (layer.weight, layer.bias, norm.bias, norm.running_mean):
                if tensor is not None:
                    tensor.data = (tensor.data * 64).round() / 64
    return copied


def nearest_to_threshold(model: SpikingTransformer, pixels: NDArray) -> float:
    """Return the smallest distance of a membrane from its threshold, of all neurons that weigh real numbers.

    Those behind attention add small integers times a power of two: they meet their thresholds exactly, and often.
    """

    def weighs(name: str) -> bool:
        return name.endswith("membrane") and not name.endswith(("attn.membrane", "gate.membrane"))

    membranes = our_values(copy.deepcopy(model).double(), pixels, weighs)
    return min((value - model.config.threshold).abs().min().item() for name, value in membranes.items() if weighs(name))
