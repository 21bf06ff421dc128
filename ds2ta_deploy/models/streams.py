"""Membrane shortcuts: patch embedding, MLP and attentions whose residual stream is a current, not a count of spikes."""

from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn

from ds2ta_deploy.models.attention import ChunkedAttention, GuardBits, Scale
from ds2ta_deploy.models.config import NetworkConfig
from ds2ta_deploy.models.erosion import Erosion, HeadErosion
from ds2ta_deploy.models.layers import ConvSynapses, SpikingConv2d, SpikingLinear, StreamNeuron, Synapses, max_pool
from ds2ta_deploy.models.network import make_neuron, make_stage
from ds2ta_deploy.models.probe import Probe


class StreamPatchEmbedding(nn.Module):
    """Three spiking stages, a fourth whose current is the stream's start, and a position convolution added to it.

    ``feature = pool(conv(x)); stream = conv(neuron(feature)) + feature``

    Shapes: ``[T or 1, B, C, H, W]`` -> currents, tokens ``[T, B, N, D]``.
    """

    def __init__(
        self, stages: Iterable[SpikingConv2d], feature: ConvSynapses, neuron: StreamNeuron, position: ConvSynapses, *, pool: bool
    ) -> None:
        """Put the parts together; ``pool`` is of the fourth stage."""
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.feature = feature
        self.pooled = Probe(channel_axis=-3) if pool else None
        self.input = neuron
        self.position = position
        self.residual = Probe(channel_axis=-3)
        self.tokens = Probe()

    @property
    def convolutions(self) -> list[SpikingConv2d]:
        """The spiking stages."""
        return cast("list[SpikingConv2d]", list(self.stages))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the token stream."""
        for stage in self.convolutions:
            inputs = stage(inputs)
        feature = self.feature(inputs)
        if self.pooled is not None:
            feature = self.pooled(max_pool(feature))
        summed = self.residual(self.position(self.input(feature)) + feature)
        tokens: Tensor = self.tokens(summed.flatten(3).transpose(2, 3))
        return tokens


class StreamMlp(nn.Module):
    """Neurons on the stream, a spiking layer, synapses. Shapes: currents ``[T, B, N, D]`` -> currents of the same shape."""

    def __init__(self, config: NetworkConfig) -> None:
        """Build the parts."""
        super().__init__()
        hidden = config.embed_dim * config.mlp_ratio
        self.input = StreamNeuron(make_neuron(config))
        self.fc1 = SpikingLinear(config.embed_dim, hidden, make_neuron(config))
        self.fc2 = Synapses(hidden, config.embed_dim)

    def forward(self, stream: Tensor) -> Tensor:
        """Return the currents of the second layer."""
        currents: Tensor = self.fc2(self.fc1(self.input(stream)))
        return currents


class MaskedAttention(nn.Module):
    """Masked attention (spike-driven transformer): ``x = q * neuron(sum over tokens of k * v)``, element by element.

    With erosion keys, values, their product and x are each replaced by 3x3 maxima.

    Shapes: currents ``[T, B, N, D]`` -> currents of the same shape; the sum is ``[T, B, 1, D]``.
    """

    def __init__(self, config: NetworkConfig, threshold: float, *, erode: bool) -> None:
        """Build the parts; ``threshold`` is that of the neuron behind the sum."""
        super().__init__()
        width = config.embed_dim
        self.input = StreamNeuron(make_neuron(config))
        self.q, self.k, self.v = (SpikingLinear(width, width, make_neuron(config), bias=False) for _ in range(3))
        self.key_value, self.total, self.masked = Probe(), Probe(), Probe()
        self.erode = erode
        if erode:
            self.k_erosion, self.v_erosion = Erosion(config.token_rows), Erosion(config.token_rows)
            self.key_value_erosion, self.masked_erosion = HeadErosion(config.num_heads), HeadErosion(config.num_heads)
        self.gate_scale: Scale | GuardBits = Scale(1.0)
        self.gate_current = Probe()
        self.gate = StreamNeuron(make_neuron(config, threshold))
        self.proj = Synapses(width, width)

    def forward(self, stream: Tensor) -> Tensor:
        """Return the currents of the output layer."""
        spikes = self.input(stream)
        query, key, value = self.q(spikes), self.k(spikes), self.v(spikes)
        if self.erode:
            key, value = self.k_erosion(key), self.v_erosion(value)
        both = self.key_value(key * value)
        if self.erode:
            both = self.key_value_erosion(both)
        total = self.total(both.sum(dim=2, keepdim=True))
        masked = self.masked(query * self.gate(self.gate_current(self.gate_scale(total))))
        if self.erode:
            masked = self.masked_erosion(masked)
        currents: Tensor = self.proj(masked)
        return currents


class StreamChunkedAttention(ChunkedAttention):
    """Attention over chunks of time steps (STAtten) that reads and feeds a stream of currents.

    With erosion queries, keys and values are 3x3 maxima, and the attention's spikes become
    ``x * pooled + pooled``, pooled being the 3x3 maximum of the spikes that q, k and v read: counts up to 2.

    Shapes: currents ``[T, B, N, D]`` -> currents of the same shape.
    """

    def __init__(self, config: NetworkConfig, *, chunk_steps: int, scale: float, threshold: float, erode: bool) -> None:
        """Build the parts; ``threshold`` is that of the attention's neuron."""
        width, neuron = config.embed_dim, make_neuron(config, threshold)
        parts = [SpikingLinear(width, width, make_neuron(config), bias=False) for _ in range(3)]
        output = Synapses(width, width)
        super().__init__(*parts, chunk_steps=chunk_steps, num_heads=config.num_heads, scale=scale, neuron=neuron, output=output)
        self.input = StreamNeuron(make_neuron(config))
        self.erode = erode
        if erode:
            self.q_erosion, self.k_erosion, self.v_erosion, self.input_erosion = (Erosion(config.token_rows) for _ in range(4))
            self.masked, self.counts = Probe(), Probe()

    def forward(self, stream: Tensor) -> Tensor:
        """Return the currents of the output layer."""
        spikes = self.input(stream)
        query, key, value = self.q(spikes), self.k(spikes), self.v(spikes)
        if self.erode:
            query, key, value = self.q_erosion(query), self.k_erosion(key), self.v_erosion(value)
        attended = self.attend(query, key, value)
        if self.erode:
            pooled = self.input_erosion(spikes)
            attended = self.counts(self.masked(attended * pooled) + pooled)
        currents: Tensor = self.proj(attended)
        return currents


def make_stream_patch_embedding(config: NetworkConfig) -> StreamPatchEmbedding:
    """Return stages of widths D/8, D/4, D/2, D, pooling where the config says, the last one a current."""
    width = config.embed_dim
    stages = [make_stage(config, index) for index in range(3)]
    feature, position = ConvSynapses(width // 2, width), ConvSynapses(width, width)
    neuron = StreamNeuron(make_neuron(config), channel_axis=-3)
    return StreamPatchEmbedding(stages, feature, neuron, position, pool=config.pool_stages[3] == "1")
