"""The DS2TA network: spiking patch splitting, encoder blocks, readout."""

from typing import cast

import torch
from msgspec import Struct
from torch import Tensor, nn

from ds2ta_deploy.models.attention import Denoiser, SpikingAttention, windowed_linear
from ds2ta_deploy.models.config import Ds2taConfig
from ds2ta_deploy.models.layers import SpikingConv2d, SpikingLinear
from ds2ta_deploy.models.neurons import Lif
from ds2ta_deploy.models.probe import Probe


def _neuron(config: Ds2taConfig, threshold: float | None = None) -> Lif:
    return Lif(config.threshold if threshold is None else threshold, config.membrane_time_constant, decay_input=config.decay_input)


class PixelEncoder(nn.Module):
    """Normalise uint8 pixels or event counts: ``(pixel * scale - mean) / std`` for each channel.

    Shapes: uint8 ``[..., H, W, C]`` -> float of the same shape.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: Ds2taConfig) -> None:
        """Take scale, mean and std from the config; they are constants, not parameters."""
        super().__init__()
        self.pixel_scale = config.pixel_scale
        self.register_buffer("mean", torch.tensor(config.pixel_mean), persistent=False)
        self.register_buffer("std", torch.tensor(config.pixel_std), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the normalised values."""
        return (pixels.to(self.mean.dtype) * self.pixel_scale - self.mean) / self.std


class IntegerPixelEncoder(nn.Module):
    """The baked table: a pixel or count becomes the quantized normalised value. Shapes as :class:`PixelEncoder`."""

    table: Tensor

    def __init__(self, table: Tensor) -> None:
        """Take the integer-valued table ``[C, 256]``."""
        super().__init__()
        self.register_buffer("table", table.to(torch.float64))

    def forward(self, pixels: Tensor) -> Tensor:
        """Look every pixel up in its channel's table."""
        return self.table[torch.arange(self.table.shape[0]), pixels.to(torch.int64)]


class PatchEmbedding(nn.Module):
    """Spiking patch splitting: four convolution stages and a relative position convolution added to their spikes.

    Shapes: ``[T or 1, B, C, H, W]`` -> counts in {0, 1, 2}, tokens ``[T, B, N, D]``.
    """

    def __init__(self, config: Ds2taConfig) -> None:
        """Build the stages of widths D/8, D/4, D/2, D, pooling where the config says."""
        super().__init__()
        widths = (config.in_channels, *config.stage_widths)
        self.stages = nn.ModuleList(
            SpikingConv2d(widths[i], widths[i + 1], _neuron(config), time_steps=config.time_steps, pool=config.pool_stages[i] == "1")
            for i in range(4)
        )
        self.position = SpikingConv2d(config.embed_dim, config.embed_dim, _neuron(config), time_steps=config.time_steps)
        self.residual = Probe(channel_axis=-3)
        self.tokens = Probe()

    @property
    def convolutions(self) -> list[SpikingConv2d]:
        """The four stages."""
        return cast("list[SpikingConv2d]", list(self.stages))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the token stream."""
        for stage in self.convolutions:
            inputs = stage(inputs)
        summed = self.residual(self.position(inputs) + inputs)
        tokens: Tensor = self.tokens(summed.flatten(3).transpose(2, 3))
        return tokens


class Mlp(nn.Module):
    """Two spiking linear layers, D -> ratio D -> D. Shapes: ``[T, B, N, D]`` -> spikes of the same shape."""

    def __init__(self, config: Ds2taConfig) -> None:
        """Build both layers; neither has a temporal window."""
        super().__init__()
        hidden = config.embed_dim * config.mlp_ratio
        self.fc1 = SpikingLinear(config.embed_dim, hidden, _neuron(config))
        self.fc2 = SpikingLinear(hidden, config.embed_dim, _neuron(config))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the spikes of the second layer."""
        spikes: Tensor = self.fc2(self.fc1(inputs))
        return spikes


class Block(nn.Module):
    """Encoder block ``x = x + attention(x); x = x + mlp(x)``, sums of spikes: small counts, not bits."""

    def __init__(self, config: Ds2taConfig) -> None:
        """Build attention and MLP."""
        super().__init__()

        def windowed(*, bias: bool) -> SpikingLinear:
            return windowed_linear(config.embed_dim, _neuron(config), config.temporal_window, config.initial_decay, bias=bias)

        self.attn = SpikingAttention(
            query=windowed(bias=config.qkv_bias),
            key=windowed(bias=config.qkv_bias),
            value=windowed(bias=config.qkv_bias),
            denoiser=Denoiser(config.num_heads, config.head_dim, config.initial_denoise_threshold),
            scale=config.attention_scale,
            neuron=_neuron(config, config.attention_threshold),
            output=windowed(bias=True),
        )
        self.attn_residual = Probe()
        self.mlp = Mlp(config)
        self.mlp_residual = Probe()

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the token stream after the block, ``[T, B, N, D]``."""
        tokens = self.attn_residual(tokens + self.attn(tokens))
        summed: Tensor = self.mlp_residual(tokens + self.mlp(tokens))
        return summed


class Readout(nn.Module):
    """Linear classifier on the mean over tokens and time. Shapes: ``[T, B, N, D]`` -> ``[B, classes]``."""

    def __init__(self, width: int, num_classes: int) -> None:
        """Build the classifier."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_classes, width))
        nn.init.trunc_normal_(self.weight, std=0.02)
        self.bias = nn.Parameter(torch.zeros(num_classes))
        self.logits = Probe()

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits, real-valued units."""
        logits: Tensor = self.logits(nn.functional.linear(tokens.mean(dim=(0, 2)), self.weight, self.bias))
        return logits


class IntegerReadout(nn.Module):
    """``sum_t sum_n W x[t, n] + bias`` in integers; real logits are :attr:`scale` times as large. Shapes as :class:`Readout`."""

    def __init__(self, weight: Tensor, bias: Tensor, scale: float) -> None:
        """Take integer-valued weights ``[classes, D]`` and biases ``[classes]``, and the value of one unit."""
        super().__init__()
        self.weight = nn.Parameter(weight.to(torch.float64))
        self.bias = nn.Parameter(bias.to(torch.float64))
        self.scale = scale
        self.logits = Probe()

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the integer logits."""
        logits: Tensor = self.logits(nn.functional.linear(tokens.sum(dim=(0, 2)), self.weight, self.bias))
        return logits


class Ds2ta(nn.Module):
    """DS2TA: denoising spiking transformer with attenuated spatiotemporal attention.

    Input: uint8 pictures ``[B, H, W, C]`` or uint8 event frames ``[T, B, H, W, C]``, as the config
    says. Output: logits ``[B, classes]``.

    Example:
        >>> model = Ds2ta(PRESETS["ds2ta-2-64"])  # doctest: +SKIP
        >>> model(torch.zeros(1, 28, 28, 1, dtype=torch.uint8)).shape  # doctest: +SKIP
        torch.Size([1, 10])

    """

    def __init__(self, config: Ds2taConfig) -> None:
        """Build the network from a validated config."""
        super().__init__()
        config.validate()
        self.config = config
        #: How the model was put on the integer grid; None for a trained model.
        self.quantization: Struct | None = None
        #: What was lost on the way to the grid beyond rounding, in words; empty is the rule.
        self.quantization_notes: tuple[str, ...] = ()
        self.encoder: nn.Module = PixelEncoder(config)
        self.input_values = Probe()
        self.patch = PatchEmbedding(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.head: nn.Module = Readout(config.embed_dim, config.num_classes)

    @property
    def encoder_blocks(self) -> list[Block]:
        """The encoder blocks, first to last."""
        return cast("list[Block]", list(self.blocks))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits."""
        if self.config.input_kind == "images":
            pixels = pixels.unsqueeze(0)
        tokens = self.patch(self.input_values(self.encoder(pixels)).movedim(-1, -3))
        for block in self.encoder_blocks:
            tokens = block(tokens)
        logits: Tensor = self.head(tokens)
        return logits
