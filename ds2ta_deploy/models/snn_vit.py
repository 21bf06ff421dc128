"""SNN-ViT: saccadic spike self-attention (Wang et al., ICLR 2025), as far as its definition could be read."""

from torch import Tensor, nn

from ds2ta_deploy.models.families import SnnVitConfig
from ds2ta_deploy.models.layers import DilatedSpikingConv2d, SpikingConv2d, SpikingLinear, split_heads
from ds2ta_deploy.models.network import Block, Mlp, PatchEmbedding, SpikingTransformer, make_neuron, make_stage
from ds2ta_deploy.models.probe import Probe
from ds2ta_deploy.models.readout import Readout
from ds2ta_deploy.models.saccade import IntegerSaccade, Saccade


class SaccadicAttention(nn.Module):
    """Chooses tokens: ``x[t, n] = s[t, n] v[t, n]`` with s the saccadic neuron of each token's relevance.

    V1: ``relevance[n] = (sum over channels of q[n]) (sum over tokens and channels of k)``, the row sums of the rank-one map.
    V2: ``relevance[n] = sum over channels of q[n]``, the keys' sum replaced by the neuron's learned gain.

    Shapes: counts ``[T, B, N, D]`` -> spikes of the same shape; relevance is ``[T, B, H, N, 1]``.
    """

    def __init__(self, config: SnnVitConfig) -> None:
        """Build the parts."""
        super().__init__()
        width = config.embed_dim
        self.num_heads = config.num_heads
        self.q, self.v = (SpikingLinear(width, width, make_neuron(config), bias=config.qkv_bias) for _ in range(2))
        keys = config.saccade == "v1"
        self.k = SpikingLinear(width, width, make_neuron(config), bias=config.qkv_bias) if keys else None
        self.saccade: Saccade | IntegerSaccade = Saccade(config.time_steps, learned_gain=not keys)
        self.proj = SpikingLinear(width, width, make_neuron(config))
        self.q_sum, self.masked = Probe(), Probe()
        if keys:
            self.k_sum, self.k_total, self.relevance = Probe(), Probe(), Probe()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the spikes of the output layer."""
        relevance = self.q_sum(split_heads(self.q(inputs), self.num_heads).sum(dim=4, keepdim=True))
        if self.k is not None:
            key_sum = self.k_sum(split_heads(self.k(inputs), self.num_heads).sum(dim=4, keepdim=True))
            relevance = self.relevance(relevance * self.k_total(key_sum.sum(dim=3, keepdim=True)))
        masked = self.masked(split_heads(self.v(inputs), self.num_heads) * self.saccade(relevance))
        spikes: Tensor = self.proj(masked.transpose(2, 3).flatten(3))
        return spikes


def _stage(config: SnnVitConfig, index: int) -> SpikingConv2d:
    plain = make_stage(config, index)
    if config.dilated_stages[index] == "0":
        return plain
    out, channels = plain.weight.shape[:2]
    return DilatedSpikingConv2d(channels, out, make_neuron(config), time_steps=config.time_steps, dilation=config.dilation, pool=plain.pool)


class SnnVit(SpikingTransformer):
    """Saccadic attention behind stages that see near and far (GL-SPS); sums of spikes on the residual."""

    def __init__(self, config: SnnVitConfig) -> None:
        """Build the network.

        Raises:
            InputError: DS2TA-110 naming every field of the config that contradicts itself or another one.

        """
        config.validate()
        position = SpikingConv2d(config.embed_dim, config.embed_dim, make_neuron(config), time_steps=config.time_steps)
        patch = PatchEmbedding([_stage(config, index) for index in range(4)], position)
        blocks = [Block(SaccadicAttention(config), Mlp(config)) for _ in range(config.depth)]
        super().__init__(config, patch, blocks, Readout(config.embed_dim, config.num_classes))
