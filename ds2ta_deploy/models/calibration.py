"""Random networks that fire: for tests, benchmarks and trying a target before there is a checkpoint.

A freshly initialised spiking transformer is silent in evaluation mode, and comparing silence with
silence proves nothing. Here the batch norms get the statistics of real activations, and biases are
raised so that every layer fires, the attention included.
"""

from functools import partial
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ds2ta_deploy.models.build import build
from ds2ta_deploy.models.config import NetworkConfig
from ds2ta_deploy.models.layers import SpikingLinear
from ds2ta_deploy.models.network import SpikingTransformer
from ds2ta_deploy.models.probe import Watch
from ds2ta_deploy.models.saccade import Saccade
from ds2ta_deploy.synthetic import synthetic_pixels

#: Added to the batch norms of queries, keys and values; with input decay the attention neuron needs tau_m times as much.
_QUERY_KEY_VALUE_BIAS = {False: 0.25, True: 0.6}


#: Bounds between which the rate of an attention's neuron is left alone, and by how much biases are shifted otherwise.
_SELDOM, _OFTEN, _TUNING_STEP, _TUNINGS = 0.03, 0.8, 0.15, 24


def random_network(config: NetworkConfig, seed: int = 0, *, batch: int = 8, pixels: NDArray[np.uint8] | None = None) -> SpikingTransformer:
    """Return a network with random weights whose every layer fires.

    Args:
        config: the architecture.
        seed: of weights and calibration pictures.
        batch: pictures used to calibrate the batch norms.
        pixels: what to calibrate on, of the network's input shape; by default ``batch`` synthetic pictures.

    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(config)
        norms = {name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)}
        with torch.no_grad():
            for name, norm in norms.items():
                norm.momentum = None  # running statistics become the plain mean over all batches seen
                norm.weight.uniform_(0.8, 1.2)
                norm.bias.uniform_(-0.2, 0.2)
                if name.rsplit(".", 2)[-2] in ("q", "k", "v"):
                    norm.bias.add_(_QUERY_KEY_VALUE_BIAS[config.decay_input])
                if config.decay_input:  # the same neuron with tau_m times the threshold
                    norm.weight.mul_(config.membrane_time_constant)
                    norm.bias.mul_(config.membrane_time_constant)
            for name, parameter in model.named_parameters():
                if name.endswith("window.decay"):
                    start = int(parameter.item())
                    parameter.copy_(torch.randint(min(1, start), start + 1, ()))
            hooks = [module.register_forward_pre_hook(_set_saccade) for module in model.modules() if isinstance(module, Saccade)]
            model.train()
            gain = config.membrane_time_constant if config.decay_input else 1.0
            shape = tuple(batch if size is None else size for size in config.input_shape)
            inputs = torch.from_numpy(synthetic_pixels(config.input_kind, shape, seed) if pixels is None else pixels)
            model(inputs)
            for hook in hooks:
                hook.remove()
            model.eval()
            tuning = [block.attn.register_forward_pre_hook(partial(_tune_attention, gain)) for block in model.encoder_blocks]
            model(inputs)
            for hook in tuning:
                hook.remove()
    return model


def _tune_attention(gain: float, attention: nn.Module, inputs: tuple[Tensor]) -> None:
    """Shift the biases of queries, keys and values until the attention's neuron fires neither too seldom nor nearly always.

    How often it fires depends on tokens, heads and chunk; a network whose attention is silent or stuck proves nothing.
    """
    names = {"spikes", "gate.spikes"}
    layers = [layer for part in "qkv" if isinstance(layer := getattr(attention, part), SpikingLinear)]
    for _ in range(_TUNINGS):
        rates: list[float] = []
        with Watch(attention, partial(_note_rate, rates), names.__contains__):
            attention.forward(*inputs)
        if not rates or _SELDOM <= rates[0] <= _OFTEN:
            return
        for layer in layers:
            cast("nn.BatchNorm1d", layer.norm).bias.add_(_TUNING_STEP * gain if rates[0] < _SELDOM else -_TUNING_STEP * gain)


def _set_saccade(module: nn.Module, inputs: tuple[Tensor]) -> None:
    """Give a saccadic neuron a random past and the thresholds that half of the tokens reach."""
    saccade, (relevance,) = cast("Saccade", module), inputs
    past = torch.rand_like(saccade.matrix).mul_(0.4).tril_(-1)
    saccade.matrix.copy_(torch.eye(len(past)) + past)
    mixed = torch.einsum("tu,u...->t...", saccade.weights(), relevance)
    saccade.threshold.copy_(mixed.flatten(1).median(dim=1).values)


def _note_rate(rates: list[float], _name: str, spikes: Tensor) -> None:
    rates.append(spikes.mean().item())
