"""Spikformer: spiking self-attention (Zhou et al., ICLR 2023), and STAtten's attention on its backbone."""

from ds2ta_deploy.models.attention import ChunkedAttention, SpikingAttention
from ds2ta_deploy.models.families import SpikformerConfig
from ds2ta_deploy.models.layers import SpikingLinear
from ds2ta_deploy.models.network import Block, Mlp, SpikingTransformer, make_neuron, make_patch_embedding
from ds2ta_deploy.models.readout import Readout


def _attention(config: SpikformerConfig) -> SpikingAttention:
    width = config.embed_dim
    query, key, value = (SpikingLinear(width, width, make_neuron(config), bias=config.qkv_bias) for _ in range(3))
    output = SpikingLinear(width, width, make_neuron(config))
    neuron = make_neuron(config, config.attention_threshold)
    heads, scale = config.num_heads, config.attention_scale
    if config.attention_order == "map":
        return SpikingAttention(query, key, value, num_heads=heads, scale=scale, neuron=neuron, output=output)
    steps = config.chunk_steps
    return ChunkedAttention(query, key, value, chunk_steps=steps, num_heads=heads, scale=scale, neuron=neuron, output=output)


class Spikformer(SpikingTransformer):
    """Spiking self-attention per time step; sums of spikes on the residual.

    Its published forms are one network here: q, k, v with a bias or without, the map computed first or the state of keys
    by values. The attention scale (1/8 or 1/4) goes into the attention neuron's threshold when the model is quantized.
    """

    def __init__(self, config: SpikformerConfig) -> None:
        """Build the network.

        Raises:
            InputError: DS2TA-110 naming every field of the config that contradicts itself or another one.

        """
        config.validate()
        patch = make_patch_embedding(config)
        blocks = [Block(_attention(config), Mlp(config)) for _ in range(config.depth)]
        super().__init__(config, patch, blocks, Readout(config.embed_dim, config.num_classes))
