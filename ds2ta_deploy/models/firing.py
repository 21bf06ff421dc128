"""Networks that fire at given rates: how fast an engine that skips silence is depends on nothing else so much."""

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.models.attention import SpikingAttention
from ds2ta_deploy.models.denoiser import Denoiser
from ds2ta_deploy.models.layers import SpikingConv2d, SpikingLinear, max_pool
from ds2ta_deploy.models.network import SpikingTransformer
from ds2ta_deploy.models.neurons import Lif
from ds2ta_deploy.synthetic import synthetic_pixels

#: Says at which mean rate, 0..1, a population fires: the dotted name before ``.spikes``, ``blocks.0.attn.q`` for example.
Rates = Callable[[str], float]

#: Halvings of the interval that holds a shift.
_HALVINGS = 18

#: Most times that all amplitudes are doubled when no threshold makes the neuron fire often enough.
_DOUBLINGS = 6

#: By how much a doubling has to raise the rate, or it is the last.
_LEAST_GAIN = 0.005

#: What a head's amplitudes may be multiplied by.
_GAINS = (0.125, 0.18, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)


def set_firing_rates(model: SpikingTransformer, rates: Rates, seed: int = 1, *, batch: int = 2, pooled: bool = False) -> None:
    """Change a trained or random network, in place, until every population fires at its rate on synthetic pictures.

    A layer's batch norm gets one scalar added to its bias, found by bisection on the currents that really flow. The
    attention's neuron has no bias: the denoiser's thresholds u_h are chosen and each head's amplitudes multiplied by a
    gain, which moves the rate in steps, so it is met as nearly as it can be.

    Args:
        model: in evaluation mode, not quantized.
        rates: wanted mean rate of every population.
        seed: of the pictures.
        batch: number of pictures.
        pooled: rates are those that the next layer reads, behind pooling; otherwise spikes are counted before it.

    Raises:
        UnsupportedError: DS2TA-202 when the model is quantized: integers cannot be shifted at will.

    Example:
        >>> set_firing_rates(model, lambda name: 0.04 if name.endswith(("proj", "fc2")) else 0.15)  # doctest: +SKIP

    """
    if model.quantization is not None:
        raise UnsupportedError(Problem("DS2TA-202", "the model is already quantized"))
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, SpikingConv2d | SpikingLinear):
            handles.append(module.neuron.register_forward_pre_hook(partial(_shift_current, module, rates(name), pooled=pooled)))
        elif isinstance(module, SpikingAttention):
            choice = _DenoiserChoice(module, rates(name))
            handles.append(module.v.register_forward_hook(choice.remember_value))
            handles.append(cast("Denoiser", module.denoiser).register_forward_pre_hook(choice.choose))
    shape = tuple(batch if size is None else size for size in model.config.input_shape)
    try:
        with torch.no_grad():
            model(torch.from_numpy(synthetic_pixels(model.config.input_kind, shape, seed)))
    finally:
        for handle in handles:
            handle.remove()


def _rate(neuron: nn.Module, current: Tensor, *, pooled: bool) -> float:
    """Mean rate at which a neuron fires; its hooks are not called."""
    spikes, _ = neuron.forward(current)
    return (max_pool(spikes) if pooled else spikes).mean().item()


def _shift_current(
    layer: SpikingConv2d | SpikingLinear, rate: float, neuron: nn.Module, inputs: tuple[Tensor], *, pooled: bool
) -> tuple[Tensor]:
    """Bisect the shift of a layer's current, put it into the norm's bias, and go on with the shifted current."""
    (current,), lif = inputs, cast("Lif", neuron)
    largest = current.abs().max().item() + lif.threshold * lif.membrane_time_constant
    low, high = -largest, largest
    pooled = pooled and isinstance(layer, SpikingConv2d) and layer.pool
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if _rate(neuron, current + middle, pooled=pooled) > rate else (middle, high)
    cast("nn.BatchNorm2d", layer.norm).bias.add_(low)
    return (current + low,)


class _DenoiserChoice:
    """Chooses thresholds and gains of one attention's denoiser while the network runs."""

    def __init__(self, attention: SpikingAttention, rate: float) -> None:
        self.attention, self.rate = attention, rate
        self.value = torch.empty(0)

    def remember_value(self, _layer: nn.Module, _inputs: tuple[Tensor], spikes: Tensor) -> None:
        """Keep V, ``[T, B, N, D] -> [T, B, H, N, d]``."""
        self.value = spikes.view(*spikes.shape[:-1], self.attention.num_heads, -1).transpose(2, 3)

    def choose(self, module: nn.Module, inputs: tuple[Tensor]) -> None:
        """Take the highest thresholds at which the neuron still fires often enough, then the gains that come nearest.

        Level l means u_h = floor((l + h) / H) - 1/2: one more of a level drops one score of one head.
        """
        (scores,), denoiser = inputs, cast("Denoiser", module)
        parameters, heads = dict(denoiser.named_parameters()), torch.arange(denoiser.num_heads)
        amplitudes = [parameters[name] for name in ("a", "b", "d")]
        parameters["u"].fill_(-0.5)
        rate = self._rate(denoiser, scores)
        for _ in range(_DOUBLINGS):
            if rate >= self.rate:
                break
            for amplitude in amplitudes:
                amplitude.mul_(2.0)
            before, rate = rate, self._rate(denoiser, scores)
            if rate - before < _LEAST_GAIN:  # where no score is, no amplitude helps
                break
        low, high = 0, denoiser.num_heads * (denoiser.head_dim + 1)
        while high - low > 1:
            middle = (low + high) // 2
            parameters["u"].copy_((middle + heads) // denoiser.num_heads - 0.5)
            low, high = (middle, high) if self._rate(denoiser, scores) >= self.rate else (low, middle)
        parameters["u"].copy_((low + heads) // denoiser.num_heads - 0.5)
        self._choose_gains(denoiser, scores, amplitudes)

    def _choose_gains(self, denoiser: Denoiser, scores: Tensor, amplitudes: list[nn.Parameter]) -> None:
        """Multiply head after head's amplitudes by the gain that brings the mean rate of all heads nearest."""
        starts = [amplitude.clone() for amplitude in amplitudes]
        rates = []
        for gain in _GAINS:
            for amplitude, start in zip(amplitudes, starts, strict=True):
                amplitude.copy_(start * gain)
            rates.append(self._rates(denoiser, scores))
        tried, heads = torch.stack(rates), torch.arange(denoiser.num_heads)
        chosen = torch.full_like(heads, _GAINS.index(1.0))
        for head in heads.tolist():
            others = (tried[chosen, heads].sum() - tried[chosen[head], head]).item()
            means = (others + tried[:, head]) / denoiser.num_heads
            chosen[head] = (means - self.rate).abs().argmin()
        for amplitude, start in zip(amplitudes, starts, strict=True):
            amplitude.copy_(start * torch.tensor(_GAINS)[chosen])

    def _rate(self, denoiser: Denoiser, scores: Tensor) -> float:
        """Rate of the attention's neuron with the denoiser as it is now."""
        return self._rates(denoiser, scores).mean().item()

    def _rates(self, denoiser: Denoiser, scores: Tensor) -> Tensor:
        """The same for each head, ``[H]``."""
        spikes, _ = self.attention.neuron.forward(self.attention.scale(denoiser.forward(scores) @ self.value))
        return spikes.mean(dim=(0, 1, 3, 4))
