"""What all families are made of: patch embedding, encoder blocks, MLP, and the network around them."""

from collections.abc import Iterable
from typing import cast

from msgspec import Struct
from torch import Tensor, nn

from ds2ta_deploy.models.config import NetworkConfig
from ds2ta_deploy.models.encoder import PixelEncoder
from ds2ta_deploy.models.layers import SpikingConv2d, SpikingLinear
from ds2ta_deploy.models.neurons import Lif
from ds2ta_deploy.models.probe import Probe
from ds2ta_deploy.models.readout import Readout


def make_neuron(config: NetworkConfig, threshold: float | None = None) -> Lif:
    """Return a neuron of the network's kind; with a threshold of its own if one is given."""
    return Lif(config.threshold if threshold is None else threshold, config.membrane_time_constant, decay_input=config.decay_input)


def make_stage(config: NetworkConfig, index: int) -> SpikingConv2d:
    """Return patch stage ``index`` as the config says: its widths, and whether it pools."""
    widths = (config.in_channels, *config.stage_widths)
    pool = config.pool_stages[index] == "1"
    return SpikingConv2d(widths[index], widths[index + 1], make_neuron(config), time_steps=config.time_steps, pool=pool)


class PatchEmbedding(nn.Module):
    """Spiking patch splitting: four convolution stages and a relative position convolution added to their spikes.

    Shapes: ``[T or 1, B, C, H, W]`` -> counts in {0, 1, 2}, tokens ``[T, B, N, D]``.
    """

    def __init__(self, stages: Iterable[SpikingConv2d], position: SpikingConv2d) -> None:
        """Put the four stages and the position convolution together."""
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.position = position
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


def make_patch_embedding(config: NetworkConfig) -> PatchEmbedding:
    """Return stages of widths D/8, D/4, D/2, D, pooling where the config says, and the position convolution."""
    stages = [make_stage(config, index) for index in range(4)]
    position = SpikingConv2d(config.embed_dim, config.embed_dim, make_neuron(config), time_steps=config.time_steps)
    return PatchEmbedding(stages, position)


class Mlp(nn.Module):
    """Two spiking linear layers, D -> ratio D -> D. Shapes: ``[T, B, N, D]`` -> spikes of the same shape."""

    def __init__(self, config: NetworkConfig) -> None:
        """Build both layers; neither has a temporal window."""
        super().__init__()
        hidden = config.embed_dim * config.mlp_ratio
        self.fc1 = SpikingLinear(config.embed_dim, hidden, make_neuron(config))
        self.fc2 = SpikingLinear(hidden, config.embed_dim, make_neuron(config))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the spikes of the second layer."""
        spikes: Tensor = self.fc2(self.fc1(inputs))
        return spikes


class Block(nn.Module):
    """Encoder block ``x = x + attention(x); x = x + mlp(x)``.

    Sums of spikes are small counts, not bits; where attention and MLP end in synapses, the sums are currents.
    """

    def __init__(self, attention: nn.Module, mlp: nn.Module) -> None:
        """Put attention and MLP together."""
        super().__init__()
        self.attn = attention
        self.attn_residual = Probe()
        self.mlp = mlp
        self.mlp_residual = Probe()

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the token stream after the block, ``[T, B, N, D]``."""
        tokens = self.attn_residual(tokens + self.attn(tokens))
        summed: Tensor = self.mlp_residual(tokens + self.mlp(tokens))
        return summed


class SpikingTransformer(nn.Module):
    """A network of any family: encoder, patch embedding, blocks, readout; each family's class puts its parts in.

    Input: uint8 pictures ``[B, H, W, C]`` or uint8 event frames ``[T, B, H, W, C]``, as the config
    says. Output: logits ``[B, classes]``.
    """

    def __init__(self, config: NetworkConfig, patch: nn.Module, blocks: Iterable[Block], head: Readout) -> None:
        """Put the parts together; the config is one that was validated."""
        super().__init__()
        self.config = config
        #: How the model was put on the integer grid; None for a trained model.
        self.quantization: Struct | None = None
        #: What was lost on the way to the grid beyond rounding, in words; empty is the rule.
        self.quantization_notes: tuple[str, ...] = ()
        self.encoder: nn.Module = PixelEncoder(config)
        self.input_values = Probe()
        self.patch = patch
        self.blocks = nn.ModuleList(blocks)
        self.head: nn.Module = head

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
