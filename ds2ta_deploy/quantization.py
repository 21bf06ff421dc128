"""Quantize: put a trained model on the integer grid, in place of its real weights, still PyTorch.

The result is the *reference* that every engine is compared with: its weights, biases, thresholds and
tables are integers held in float64, so that every sum and every tie is exact.
"""

import copy
from functools import singledispatchmethod

import numpy as np
import torch
from torch import nn

from ds2ta_deploy.errors import Problem, UnsupportedError
from ds2ta_deploy.graph.intervals import Interval
from ds2ta_deploy.graph.ops import Readout as ReadoutOp
from ds2ta_deploy.graph.ops import ValueType
from ds2ta_deploy.grid import WeightGrid, leak_is_exact, quantize_readout, quantize_table, uniform_grid
from ds2ta_deploy.models.attention import SpikingAttention
from ds2ta_deploy.models.encoder import IntegerPixelEncoder, PixelEncoder
from ds2ta_deploy.models.layers import SpikingLinear, Synapses
from ds2ta_deploy.models.network import Mlp, PatchEmbedding, SpikingTransformer
from ds2ta_deploy.models.readout import IntegerReadout, IntegerStreamReadout, StreamReadout
from ds2ta_deploy.models.snn_vit import SaccadicAttention
from ds2ta_deploy.models.streams import MaskedAttention, StreamChunkedAttention, StreamMlp, StreamPatchEmbedding
from ds2ta_deploy.quantizing.attention import quantize_attention_neuron, quantize_gate, quantize_saccade
from ds2ta_deploy.quantizing.context import Context
from ds2ta_deploy.quantizing.formats import HEAD, choose_formats
from ds2ta_deploy.quantizing.layers import quantize_conv, quantize_linear
from ds2ta_deploy.quantizing.settings import THRESHOLDS, Quantization, WeightFormat
from ds2ta_deploy.quantizing.stream import Stream

#: Fewest bits that the readout's weights are narrowed to.
MIN_READOUT_BITS = 4

__all__ = ["MIN_READOUT_BITS", "THRESHOLDS", "Quantization", "quantize"]


def quantize(model: SpikingTransformer, settings: Quantization | None = None) -> SpikingTransformer:
    """Return a copy of ``model`` on the integer grid.

    For every output channel c with folded weights W' and threshold theta, ``theta_c = floor(q_max theta /
    max|W'_c|)`` and ``W_c = round(W'_c theta_c / theta)``: the membrane lives in units of ``theta / theta_c``
    and no multiplier is needed at run time. With thresholds a ``layer`` the maximum is the layer's; where layers add
    into one residual stream of currents, it is that of all of them. Guard bits of the
    temporal windows are the exact ones where the profile's state is provably wide enough, otherwise the most that
    fit; so are the bits of the readout and of a stream's weights.

    Raises:
        UsageError: DS2TA-510 for settings out of range.
        InputError: DS2TA-112 naming every layer and every weight format among the settings that there is not.
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
        put_on_grid(quantized, settings)
    return quantized


def put_on_grid(model: SpikingTransformer, settings: Quantization) -> None:
    """Do in place what :func:`quantize` does to a copy, to a model in float64 and evaluation mode.

    All that is rounded passes gradients straight through, so that the integers know which parameters they are made of.
    """
    context = Context(model.config, settings, choose_formats(model, settings))
    _Walk(context).run(model)
    model.quantization_notes = tuple(context.notes)
    model.quantization = settings


def pixel_grid(model: SpikingTransformer, settings: Quantization) -> tuple[torch.Tensor, float]:
    """Return a trained model's normalised pixels as an integer table ``[C, 256]``, and the real value of one unit of it.

    Raises:
        UnsupportedError: DS2TA-202 when the model is on the grid already, 222 when the pixels are not finite.

    """
    encoder, config = model.encoder, model.config
    if not isinstance(encoder, PixelEncoder):
        raise UnsupportedError(Problem("DS2TA-202", "the model's pixel encoder is not a trained one", "encoder"))
    pixels = torch.arange(256)[:, None].expand(-1, config.in_channels)
    values = encoder(pixels).T.contiguous()
    if not torch.isfinite(values).all():
        raise UnsupportedError(Problem("DS2TA-222", "the normalised pixels are not finite", "encoder", "mend pixel_mean and pixel_std"))
    return quantize_table(values, 2 ** (settings.first_layer_bits - 1) - 1, counts=config.input_kind == "frames")


class _Walk:
    """Goes through a network, part by part; ``largest`` is the largest count of the residual stream so far."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.stream = Stream()
        self.largest = 1

    def run(self, model: SpikingTransformer) -> None:
        """Quantize every part in place."""
        config = self.context.config
        if not leak_is_exact(config.membrane_time_constant):
            numerator, shift = self.context.leak
            what = f"the leak of tau_m = {config.membrane_time_constant:.6g} is approximated by {numerator} / 2^{shift}"
            self.context.notes.append(f"neurons: {what}")
        unit = self._encoder(model)
        self.embed(model.patch, unit)
        for index, block in enumerate(model.encoder_blocks):
            prefix = f"blocks.{index}"
            self.attend(block.attn, f"{prefix}.attn")
            self.transform(block.mlp, f"{prefix}.mlp")
        if isinstance(model.head, StreamReadout):
            self.stream.read("head.input", model.head.input, config.tokens)
        self.stream.settle(self.context)
        model.head = self._readout(model.head)

    def _encoder(self, model: SpikingTransformer) -> float:
        """Bake the pixel table; returns the real value of one unit of it."""
        table, unit = pixel_grid(model, self.context.settings)
        model.encoder = IntegerPixelEncoder(table)
        return unit

    @singledispatchmethod
    def embed(self, patch: nn.Module, _unit: float) -> None:
        """Quantize the patch embedding."""
        raise _unknown(patch, "patch")

    @embed.register
    def _(self, patch: PatchEmbedding, unit: float) -> None:
        for index, stage in enumerate(patch.convolutions):
            quantize_conv(self.context, stage, f"patch.stages.{index}", unit if index == 0 else None)
        quantize_conv(self.context, patch.position, "patch.position")
        self.largest = 2  # pooled spike + position spike

    @embed.register
    def _(self, patch: StreamPatchEmbedding, unit: float) -> None:
        for index, stage in enumerate(patch.convolutions):
            quantize_conv(self.context, stage, f"patch.stages.{index}", unit if index == 0 else None)
        self.stream.add("patch.feature", patch.feature)
        self.stream.read("patch.input", patch.input)
        self.stream.add("patch.position", patch.position)

    @singledispatchmethod
    def attend(self, attention: nn.Module, name: str) -> None:
        """Quantize a block's attention."""
        raise _unknown(attention, name)

    @attend.register
    def _(self, attention: SpikingAttention, name: str) -> None:
        self._linear(attention.q, attention.k, attention.v, names=[f"{name}.{part}" for part in "qkv"], largest=self.largest)
        quantize_attention_neuron(self.context, attention, name)
        self._linear(attention.proj, names=[f"{name}.proj"], largest=1)
        self.largest += 1

    @attend.register
    def _(self, attention: StreamChunkedAttention, name: str) -> None:
        self.stream.read(f"{name}.input", attention.input)
        self._linear(attention.q, attention.k, attention.v, names=[f"{name}.{part}" for part in "qkv"], largest=1)
        quantize_attention_neuron(self.context, attention, name)
        self.stream.add(f"{name}.proj", attention.proj, 2 if attention.erode else 1)

    @attend.register
    def _(self, attention: MaskedAttention, name: str) -> None:
        self.stream.read(f"{name}.input", attention.input)
        self._linear(attention.q, attention.k, attention.v, names=[f"{name}.{part}" for part in "qkv"], largest=1)
        quantize_gate(self.context, attention, name)
        self.stream.add(f"{name}.proj", attention.proj)

    @attend.register
    def _(self, attention: SaccadicAttention, name: str) -> None:
        for part, layer in (("q", attention.q), ("k", attention.k), ("v", attention.v)):
            if layer is not None:
                quantize_linear(self.context, layer, f"{name}.{part}", self.largest)
        quantize_saccade(self.context, attention, name)
        quantize_linear(self.context, attention.proj, f"{name}.proj", 1)
        self.largest += 1

    @singledispatchmethod
    def transform(self, mlp: nn.Module, name: str) -> None:
        """Quantize a block's MLP."""
        raise _unknown(mlp, name)

    @transform.register
    def _(self, mlp: Mlp, name: str) -> None:
        quantize_linear(self.context, mlp.fc1, f"{name}.fc1", self.largest)
        quantize_linear(self.context, mlp.fc2, f"{name}.fc2", 1)
        self.largest += 1

    @transform.register
    def _(self, mlp: StreamMlp, name: str) -> None:
        self.stream.read(f"{name}.input", mlp.input)
        quantize_linear(self.context, mlp.fc1, f"{name}.fc1", 1)
        self.stream.add(f"{name}.fc2", mlp.fc2)

    def _linear(self, *layers: Synapses, names: list[str], largest: int) -> None:
        for layer, name in zip(layers, names, strict=True):
            if not isinstance(layer, SpikingLinear):
                raise _unknown(layer, name)
            quantize_linear(self.context, layer, name, largest)

    def _readout(self, readout: nn.Module) -> IntegerReadout:
        """Weights as wide as the settings say, or less: the most bits with which the sum provably fits the state.

        A channel of the last value reaches ``largest`` in each of all token-steps. Where not even
        four bits fit, the range proof of the frozen graph says so.
        """
        context = self.context
        pooled = isinstance(readout, StreamReadout)
        summands = context.config.time_steps * (1 if pooled else context.config.tokens)
        widest = context.weight_grid(HEAD)
        chosen = quantize_readout(readout, widest, summands)
        for grid in (widest, *self._narrower(context.formats[HEAD])):
            quantized = quantize_readout(readout, grid, summands)
            weight, bias = (part.detach().numpy() for part in (quantized.weight, quantized.bias))
            op = ReadoutOp("", (), (), weight.astype(np.int64), bias.astype(np.int32))
            kind = ValueType((1, None, summands, weight.shape[1]), "uint8")
            if op.infer_ranges([Interval.of(0, 1 if pooled else self.largest)], [kind])[0].bits <= context.profile.state_bits:
                if grid != widest:
                    context.notes.append(f"head: {grid.name} weights, with which its sum fits {context.profile.state_bits} bits")
                chosen = quantized
                break
        if isinstance(readout, StreamReadout):
            return IntegerStreamReadout(chosen.weight, chosen.bias, chosen.scale, readout.input)
        return chosen

    @staticmethod
    def _narrower(widest: WeightFormat) -> list[WeightGrid]:
        """Return the grids that the readout may fall back on, one bit less at a time."""
        return [uniform_grid(bits) for bits in range(widest - 1, MIN_READOUT_BITS - 1, -1)] if isinstance(widest, int) else []


def _unknown(part: nn.Module, name: str) -> UnsupportedError:
    return UnsupportedError(Problem("DS2TA-202", f"there is no rule for putting a {type(part).__name__} on the grid", name))
