"""Spike-driven transformer (Yao et al., NeurIPS 2023) and STAtten (Lee et al., CVPR 2025): membrane shortcuts."""

from torch import nn

from ds2ta_deploy.models.config import NetworkConfig
from ds2ta_deploy.models.families import SpikeDrivenConfig, StattenConfig
from ds2ta_deploy.models.network import Block, SpikingTransformer, make_neuron
from ds2ta_deploy.models.readout import StreamReadout
from ds2ta_deploy.models.streams import (
    MaskedAttention,
    StreamChunkedAttention,
    StreamMlp,
    StreamPatchEmbedding,
    make_stream_patch_embedding,
)


def _head(config: NetworkConfig) -> StreamReadout:
    return StreamReadout(config.embed_dim, config.num_classes, make_neuron(config))


def _patch_and_blocks(config: NetworkConfig, attentions: list[nn.Module]) -> tuple[StreamPatchEmbedding, list[Block]]:
    return make_stream_patch_embedding(config), [Block(attention, StreamMlp(config)) for attention in attentions]


class SpikeDrivenTransformer(SpikingTransformer):
    """Masked attention on a stream of currents; the head reads spikes of the mean over tokens."""

    def __init__(self, config: SpikeDrivenConfig) -> None:
        """Build the network.

        Raises:
            InputError: DS2TA-110 naming every field of the config that contradicts itself or another one.

        """
        config.validate()
        attentions: list[nn.Module] = [MaskedAttention(config, config.attention_threshold, erode=config.erode) for _ in range(config.depth)]
        super().__init__(config, *_patch_and_blocks(config, attentions), _head(config))


class Statten(SpikingTransformer):
    """Attention over chunks of time steps on the backbone of the spike-driven transformer."""

    def __init__(self, config: StattenConfig) -> None:
        """Build the network.

        Raises:
            InputError: DS2TA-110 naming every field of the config that contradicts itself or another one.

        """
        config.validate()
        attentions: list[nn.Module] = [
            StreamChunkedAttention(
                config,
                chunk_steps=config.chunk_steps,
                scale=config.attention_scale,
                threshold=config.attention_threshold,
                erode=config.erode,
            )
            for _ in range(config.depth)
        ]
        super().__init__(config, *_patch_and_blocks(config, attentions), _head(config))
