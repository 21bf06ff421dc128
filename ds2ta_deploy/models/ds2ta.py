"""DS2TA: denoising spiking transformer with attenuated spatiotemporal attention."""

from ds2ta_deploy.models.attention import SpikingAttention
from ds2ta_deploy.models.denoiser import Denoiser
from ds2ta_deploy.models.families import Ds2taConfig
from ds2ta_deploy.models.layers import SpikingLinear
from ds2ta_deploy.models.network import Block, Mlp, SpikingTransformer, make_neuron, make_patch_embedding
from ds2ta_deploy.models.readout import Readout
from ds2ta_deploy.models.windows import TemporalWindow


def _windowed(config: Ds2taConfig, *, bias: bool) -> SpikingLinear:
    """Return a D-to-D population that sees several time steps (TASA)."""
    window = TemporalWindow(config.temporal_window, config.initial_decay)
    return SpikingLinear(config.embed_dim, config.embed_dim, make_neuron(config), bias=bias, window=window)


def _block(config: Ds2taConfig) -> Block:
    query, key, value = (_windowed(config, bias=config.qkv_bias) for _ in range(3))
    attention = SpikingAttention(
        query,
        key,
        value,
        num_heads=config.num_heads,
        scale=config.attention_scale,
        neuron=make_neuron(config, config.attention_threshold),
        output=_windowed(config, bias=True),
        denoiser=Denoiser(config.num_heads, config.head_dim, config.initial_denoise_threshold),
    )
    return Block(attention, Mlp(config))


class Ds2ta(SpikingTransformer):
    """Temporally attenuated spatiotemporal attention with a denoised map; Q, K, V and its output layer see TAW steps.

    Example:
        >>> model = Ds2ta(PRESETS["ds2ta-2-64"])  # doctest: +SKIP
        >>> model(torch.zeros(1, 28, 28, 1, dtype=torch.uint8)).shape  # doctest: +SKIP
        torch.Size([1, 10])

    """

    def __init__(self, config: Ds2taConfig) -> None:
        """Build the network.

        Raises:
            InputError: DS2TA-110 naming every field of the config that contradicts itself or another one.

        """
        config.validate()
        patch = make_patch_embedding(config)
        blocks = [_block(config) for _ in range(config.depth)]
        super().__init__(config, patch, blocks, Readout(config.embed_dim, config.num_classes))
