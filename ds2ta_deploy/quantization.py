"""Quantize: put a trained model on the integer grid, in place of its real weights, still PyTorch.

The result is the *reference* that every engine is compared with: its weights, biases, thresholds and
tables are integers held in float64, so that every sum and every tie is exact.
"""

import copy
import math
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ds2ta_deploy.errors import Problem, UnsupportedError, UsageError
from ds2ta_deploy.graph.intervals import Interval, bits_needed
from ds2ta_deploy.graph.ops import Lif as LifOp
from ds2ta_deploy.graph.ops import Linear as LinearOp
from ds2ta_deploy.graph.ops import Readout as ReadoutOp
from ds2ta_deploy.graph.ops import TemporalWindow as WindowOp
from ds2ta_deploy.graph.ops import ValueType
from ds2ta_deploy.graph.ranges import PROFILES, Profile
from ds2ta_deploy.grid import (
    fold_norm,
    integer_thresholds,
    leak_fraction,
    leak_is_exact,
    quantize_readout,
    quantize_table,
    simplest_fraction,
)
from ds2ta_deploy.models.attention import Denoiser, GuardBits, IntegerDenoiser, Scale, SpikingAttention
from ds2ta_deploy.models.config import Ds2taConfig
from ds2ta_deploy.models.ds2ta import Ds2ta, IntegerPixelEncoder, IntegerReadout, PixelEncoder
from ds2ta_deploy.models.layers import IntegerWindow, SpikingConv2d, SpikingLinear, TemporalWindow
from ds2ta_deploy.models.neurons import IntegerLif, Lif

#: Largest integer threshold of a layer, and of the first layer.
MAX_THRESHOLD, MAX_FIRST_THRESHOLD = 2**14, 2**20

#: What the channels of a layer may have: a threshold each, or one for all of them.
THRESHOLDS = ("channel", "layer")

#: Fewest bits that the readout's weights are narrowed to.
MIN_READOUT_BITS = 4

#: Most guard bits of a temporal window; more never fit 32-bit state.
MAX_GUARD_BITS = 24


class Quantization(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a model is put on the grid.

    Attributes:
        profile: ``cpu`` (32-bit state) or ``loihi`` (24-bit state); decides the guard bits.
        weight_bits: bits of all weights but the first layer's, 2..8.
        first_layer_bits: bits of the first layer's weights and input table, 8..12.
        thresholds: ``channel`` gives every output channel of a layer a scale and so an integer threshold of its own;
            ``layer`` gives all of them the same, which engines need whose neurons share a threshold.

    """

    profile: str = "cpu"
    weight_bits: int = 8
    first_layer_bits: int = 10
    thresholds: str = "channel"

    def validate(self) -> None:
        """Raise UsageError (DS2TA-510) naming every setting outside its range."""
        problems = []
        if self.profile not in PROFILES:
            problems.append(Problem("DS2TA-510", f"the profile {self.profile!r} is not known", "profile", f"known: {', '.join(PROFILES)}"))
        if not 2 <= self.weight_bits <= 8:
            problems.append(Problem("DS2TA-510", f"is {self.weight_bits}, must lie in 2..8", "weight_bits"))
        if not 8 <= self.first_layer_bits <= 12:
            problems.append(Problem("DS2TA-510", f"is {self.first_layer_bits}, must lie in 8..12", "first_layer_bits"))
        if self.thresholds not in THRESHOLDS:
            known = f"known: {', '.join(THRESHOLDS)}"
            problems.append(Problem("DS2TA-510", f"{self.thresholds!r} is not known", "thresholds", known))
        if problems:
            raise UsageError(problems)


@dataclass(frozen=True)
class _Grid:
    """Integer weights ``[out, K]``, biases and thresholds ``[out]``: real = integer * theta / threshold."""

    weight: Tensor
    bias: Tensor
    threshold: Tensor


def quantize(model: Ds2ta, settings: Quantization | None = None) -> Ds2ta:
    """Return a copy of ``model`` on the integer grid.

    For every output channel c with folded weights W' and threshold theta, ``theta_c = floor(q_max theta /
    max|W'_c|)`` and ``W_c = round(W'_c theta_c / theta)``: the membrane lives in units of ``theta / theta_c``
    and no multiplier is needed at run time. With thresholds a ``layer`` the maximum is the layer's. Guard bits of the
    temporal windows are the exact ones where the profile's state is provably wide enough, otherwise the most that
    fit; so are the bits of the readout.

    Raises:
        UsageError: DS2TA-510 for settings out of range.
        UnsupportedError: DS2TA-202 when the model is on the grid already, DS2TA-222 when a layer cannot be
            represented at all.

    Example:
        >>> integer_model = quantize(load_checkpoint("ckpt.safetensors"))  # doctest: +SKIP

    """
    settings = settings or Quantization()
    settings.validate()
    if model.quantization is not None:
        raise UnsupportedError(Problem("DS2TA-202", "the model is already quantized"))
    quantized = copy.deepcopy(model).eval().double()
    with torch.no_grad():
        quantizer = _Quantizer(quantized.config, settings)
        quantizer.run(quantized)
    quantized.quantization_notes = tuple(quantizer.notes)
    quantized.quantization = settings
    return quantized.requires_grad_(requires_grad=False)


class _Quantizer:
    """Carries config and settings through the layers."""

    def __init__(self, config: Ds2taConfig, settings: Quantization) -> None:
        self.config = config
        self.settings = settings
        self.profile: Profile = PROFILES[settings.profile]
        self.leak = leak_fraction(config.membrane_time_constant)
        self.notes: list[str] = []
        self.tokens = 0

    def run(self, model: Ds2ta) -> None:
        """Quantize every layer in place."""
        self.tokens = self._tokens(model)
        if not leak_is_exact(self.config.membrane_time_constant):
            numerator, shift = self.leak
            self.notes.append(
                f"neurons: the leak of tau_m = {self.config.membrane_time_constant:.6g} is approximated by {numerator} / 2^{shift}"
            )
        unit = self._encoder(model)
        for index, stage in enumerate(model.patch.convolutions):
            self._conv(stage, f"patch.stages.{index}", unit if index == 0 else None)
        self._conv(model.patch.position, "patch.position", None)
        largest_count = 2  # pooled spike + position spike
        for index, block in enumerate(model.encoder_blocks):
            self._attention(block.attn, f"blocks.{index}.attn", largest_count)
            self._linear(block.mlp.fc1, f"blocks.{index}.mlp.fc1", largest_count + 1)
            self._linear(block.mlp.fc2, f"blocks.{index}.mlp.fc2", 1)
            largest_count += 2
        model.head = self._readout(model.head, self.tokens * self.config.time_steps, largest_count)

    def _readout(self, readout: nn.Module, summands: int, largest_count: int) -> IntegerReadout:
        """Weights as wide as the settings say, or less: the most bits with which the sum provably fits the state.

        A channel of the last value reaches ``largest_count`` in each of ``summands`` token-steps. Where not even
        four bits fit, the range proof of the frozen graph says so.
        """
        widest = self.settings.weight_bits
        for bits in range(widest, min(widest, MIN_READOUT_BITS) - 1, -1):
            quantized = quantize_readout(readout, bits, summands)
            weight, bias = (part.detach().numpy() for part in (quantized.weight, quantized.bias))
            op = ReadoutOp("", (), (), weight.astype(np.int64), bias.astype(np.int32))
            kind = ValueType((1, None, summands, weight.shape[1]), "uint8")
            if op.infer_ranges([Interval.of(0, largest_count)], [kind])[0].bits <= self.profile.state_bits:
                if bits < widest:
                    self.notes.append(f"head: {bits}-bit weights, with which its sum fits {self.profile.state_bits} bits")
                return quantized
        return quantize_readout(readout, widest, summands)

    def _tokens(self, model: Ds2ta) -> int:
        height, width = self.config.image_height, self.config.image_width
        for stage in model.patch.convolutions:
            height, width = ((height + 1) // 2, (width + 1) // 2) if stage.pool else (height, width)
        return height * width

    def _encoder(self, model: Ds2ta) -> float:
        """Bake the pixel table; returns the real value of one unit of it."""
        encoder = model.encoder
        if not isinstance(encoder, PixelEncoder):
            raise UnsupportedError(Problem("DS2TA-202", "the model's pixel encoder is not a trained one", "encoder"))
        pixels = torch.arange(256)[:, None].expand(-1, self.config.in_channels)
        values = encoder(pixels).T.contiguous()
        if not torch.isfinite(values).all():
            raise UnsupportedError(Problem("DS2TA-222", "the normalised pixels are not finite", "encoder", "mend pixel_mean and pixel_std"))
        table, unit = quantize_table(values, 2 ** (self.settings.first_layer_bits - 1) - 1, counts=self.config.input_kind == "frames")
        model.encoder = IntegerPixelEncoder(table)
        return unit

    def _conv(self, layer: SpikingConv2d, name: str, input_unit: float | None) -> None:
        """Quantize a convolution; ``input_unit`` marks the first one."""
        weight, bias = fold_norm(layer, name)
        first = input_unit is not None
        bits = self.settings.first_layer_bits if first else self.settings.weight_bits
        grid = self._grid(
            name, weight.flatten(1) * (input_unit or 1.0), bias, layer.neuron, bits, MAX_FIRST_THRESHOLD if first else MAX_THRESHOLD
        )
        layer.weight = nn.Parameter(grid.weight.view_as(weight))
        layer.bias = nn.Parameter(grid.bias)
        layer.norm = nn.Identity()
        layer.neuron = IntegerLif(grid.threshold[:, None, None], *self.leak)

    def _linear(self, layer: SpikingLinear, name: str, largest_count: int) -> None:
        """Quantize a linear layer whose inputs lie in 0..largest_count."""
        grid = self._grid(name, *fold_norm(layer, name), layer.neuron, self.settings.weight_bits, MAX_THRESHOLD)
        guard = 0
        if isinstance(layer.window, TemporalWindow):
            taps, decay = layer.window.taps, layer.window.integer_decay
            guard = self._window_guard_bits(grid, taps, decay, largest_count)
            layer.window = IntegerWindow(taps, decay, guard)
        layer.weight = nn.Parameter(grid.weight)
        layer.bias = nn.Parameter(grid.bias)
        layer.norm = nn.Identity()
        layer.neuron = IntegerLif(grid.threshold * 2**guard, *self.leak)

    def _attention(self, attention: SpikingAttention, name: str, largest_count: int) -> None:
        for part in ("q", "k", "v"):
            self._linear(getattr(attention, part), f"{name}.{part}", largest_count)
        if not isinstance(attention.denoiser, Denoiser) or not isinstance(attention.neuron, Lif) or not isinstance(attention.scale, Scale):
            raise UnsupportedError(Problem("DS2TA-202", "the attention is not a trained one", name))
        table = attention.denoiser.table()
        threshold, guard = self._attention_threshold(attention.neuron, attention.scale.factor, table, name)
        attention.denoiser = IntegerDenoiser(table)
        attention.scale = GuardBits(guard)
        attention.neuron = IntegerLif(torch.full((self.config.embed_dim,), threshold, dtype=torch.float64), *self.leak)
        self._linear(attention.proj, f"{name}.proj", 1)

    def _attention_threshold(self, neuron: Lif, scale: float, table: Tensor, name: str) -> tuple[int, int]:
        """The scale divides the threshold. A fraction takes its ceiling and as many guard bits as T - 1 leaks drop, or the most."""
        quotient = simplest_fraction(self._threshold(neuron)) / simplest_fraction(scale)
        context = Interval.of(int(table.min()) * self.tokens, int(table.max()) * self.tokens).with_zero()
        exact = 0 if quotient.denominator == 1 else self.leak[1] * (self.config.time_steps - 1)
        for guard in range(min(exact, MAX_GUARD_BITS), -1, -1):
            threshold = math.ceil(quotient * 2**guard)
            if self._fits(context, WindowOp("", (), (), np.zeros(1, np.int32), 1, 0, guard), np.array([threshold], object)):
                if guard < exact:
                    self.notes.append(f"{name}: the threshold {float(quotient):.6g} is rounded up to a multiple of 2^-{guard}")
                return threshold, guard
        what = f"threshold and attention need more than the {self.profile.state_bits} bits of state that profile {self.profile.name} grants"
        raise UnsupportedError(Problem("DS2TA-222", what, name, "use a larger attention scale or a wider profile"))

    def _threshold(self, neuron: Lif) -> float:
        """Input decay is the same neuron with tau_m times the threshold."""
        return neuron.threshold * (neuron.membrane_time_constant if neuron.decay_input else 1.0)

    def _grid(self, name: str, weight: Tensor, bias: Tensor, neuron: Lif | IntegerLif, bits: int, most: int) -> _Grid:
        if not isinstance(neuron, Lif):
            raise UnsupportedError(Problem("DS2TA-202", "the neuron is not a trained one", name))
        theta, largest = self._threshold(neuron), 2 ** (bits - 1) - 1
        threshold = integer_thresholds(weight, theta, largest, most, shared=self.settings.thresholds == "layer")
        integer_bias = (bias * threshold / theta).round()
        if (integer_bias.abs() >= 2**31).any():
            channel = int(integer_bias.abs().argmax())
            raise UnsupportedError(
                Problem(
                    "DS2TA-222",
                    f"the bias of channel {channel} is {bias[channel]:.3g}, {integer_bias[channel]:.3g} on the grid: more than 32 bits",
                    name,
                )
            )
        rounded = (weight * (threshold / theta)[:, None]).round()
        clipped = int((rounded.abs() > largest).sum())
        if clipped:
            self.notes.append(f"{name}: {clipped} weights are more than {largest} times the threshold and were cut off")
        return _Grid(rounded.clamp(-largest, largest), integer_bias, threshold)

    def _window_guard_bits(self, grid: _Grid, taps: int, decay: int, largest_count: int) -> int:
        """Most guard bits, up to the exact number, with which current and membrane provably fit the state."""
        steps = self.config.time_steps
        exact = decay * (min(taps, steps) - 1)
        weight, bias, threshold = (part.numpy().astype(np.int64) for part in (grid.weight, grid.bias, grid.threshold))
        kind = ValueType((steps, None, 1, weight.shape[1]), "uint8")
        (product,) = LinearOp("", (), (), weight).infer_ranges([Interval.of(0, largest_count)], [kind])
        for guard in range(min(exact, MAX_GUARD_BITS), 0, -1):
            if self._fits(product, WindowOp("", (), (), bias.astype(np.int32), taps, decay, guard), threshold << guard):
                return guard
        return 0

    def _fits(self, product: Interval, window: WindowOp, threshold: NDArray[Any]) -> bool:
        """Whether current, membrane and threshold fit the profile's state, by the range rules of the ops themselves."""
        if bits_needed(0, int(threshold.max())) > self.profile.state_bits:
            return False
        kind = ValueType((self.config.time_steps, None, 1, threshold.shape[0]), "int32")
        (current,) = window.infer_ranges([product], [kind])
        _, membrane = LifOp("", (), (), threshold.astype(np.int32), *self.leak).infer_ranges([current], [kind])
        return max(current.bits, membrane.bits) <= self.profile.state_bits
