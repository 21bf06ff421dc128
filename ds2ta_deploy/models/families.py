"""The configuration of each model family, and the presets. Needs no PyTorch."""

import math
from typing import Literal

from ds2ta_deploy.models.config import NetworkConfig, chunk_problems, four_flags, not_positive

#: Largest window of time steps, and largest decay exponent, that a config may ask for.
_MOST_TAPS, _MOST_DECAY = 64, 8

#: Largest distance of neighbouring taps of a dilated convolution, in pixels.
_MOST_DILATION = 64


class Ds2taConfig(NetworkConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """DS2TA: temporally attenuated attention with a denoised map.

    Attributes:
        qkv_bias: whether the q, k, v projections have a bias besides their batch norm.
        temporal_window: TAW of Eq. 1, number of time steps a query, key, value or output neuron sees.
        initial_decay: start value of the learned integer exponent tau of Eq. 5.
        initial_denoise_threshold: start value of u_h of Eq. 6.
        attention_scale: factor on A V before the attention neuron.
        attention_threshold: firing threshold of the attention neuron, in units of the scaled A V.

    """

    family: Literal["ds2ta"] = "ds2ta"
    qkv_bias: bool = True
    temporal_window: int = 3
    initial_decay: int = 4
    initial_denoise_threshold: float = 3.0
    attention_scale: float = 0.125
    attention_threshold: float = 0.5

    def problems(self) -> list[tuple[str, str]]:
        """Return what only DS2TA can have wrong."""
        wrong = not_positive(self, "attention_scale", "attention_threshold")
        wrong += [(name, "must be finite") for name in ("initial_denoise_threshold",) if not math.isfinite(getattr(self, name))]
        if not 1 <= self.temporal_window <= _MOST_TAPS:
            wrong.append(("temporal_window", f"must lie in 1..{_MOST_TAPS}"))
        if not 0 <= self.initial_decay <= _MOST_DECAY:
            wrong.append(("initial_decay", f"must lie in 0..{_MOST_DECAY}"))
        return wrong


class SpikformerConfig(NetworkConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Spikformer: spiking self-attention, residual sums of spikes.

    Attributes:
        qkv_bias: whether the q, k, v projections have a bias besides their batch norm.
        attention_order: ``map`` computes (Q K^T) V, ``state`` Q (K^T V): the same integers, other intermediate values.
        chunk_steps: time steps whose tokens attend to each other; 1 is Spikformer. More is STAtten's attention on this
            backbone, a definition of this project, which needs the order ``state``.
        attention_scale: factor on the context before the attention neuron.
        attention_threshold: firing threshold of the attention neuron, in units of the scaled context.

    """

    family: Literal["spikformer"] = "spikformer"
    decay_input: bool = True
    qkv_bias: bool = True
    attention_order: Literal["map", "state"] = "map"
    chunk_steps: int = 1
    attention_scale: float = 0.125
    attention_threshold: float = 0.5

    def problems(self) -> list[tuple[str, str]]:
        """Return what only Spikformer can have wrong."""
        wrong = not_positive(self, "attention_scale", "attention_threshold") + chunk_problems(self, self.chunk_steps)
        if self.chunk_steps > 1 and self.attention_order == "map":
            wrong.append(("attention_order", "must be 'state' where a chunk has several time steps"))
        return wrong


class SpikeDrivenConfig(NetworkConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Spike-driven transformer: membrane shortcuts, masked attention ``q LIF(sum over tokens of k v)``.

    Attributes:
        erode: event form: 3x3 maxima on keys, values, their product and the result.
        attention_threshold: firing threshold of the neuron behind the sum over tokens.

    """

    family: Literal["sdt"] = "sdt"
    decay_input: bool = True
    erode: bool = False
    attention_threshold: float = 0.5

    def problems(self) -> list[tuple[str, str]]:
        """Return what only the spike-driven transformer can have wrong."""
        return not_positive(self, "attention_threshold") + _inner_residual(self)


class StattenConfig(NetworkConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """STAtten: membrane shortcuts, attention Q (K^T V) over chunks of time steps.

    Attributes:
        erode: event form: 3x3 maxima on queries, keys and values; spikes of the attention are masked by the pooled input.
        chunk_steps: time steps of a chunk; divides T. Inside a chunk attention looks ahead.
        attention_scale: factor on the context before the attention neuron; the published code takes 1 / rows of the
            feature map, in its event form 1 / (rows^2 chunk_steps).
        attention_threshold: firing threshold of the attention neuron, in units of the scaled context.

    """

    family: Literal["statten"] = "statten"
    decay_input: bool = True
    erode: bool = False
    chunk_steps: int = 2
    attention_scale: float
    attention_threshold: float = 0.5

    def problems(self) -> list[tuple[str, str]]:
        """Return what only STAtten can have wrong."""
        return not_positive(self, "attention_scale", "attention_threshold") + chunk_problems(self, self.chunk_steps) + _inner_residual(self)


def _inner_residual(config: NetworkConfig) -> list[tuple[str, str]]:
    """A hidden layer as narrow as the stream has a residual of its own in the published code, which is not built here."""
    return [("mlp_ratio", "must be 2 or more: at 1 the published MLP adds its input once more")] if config.mlp_ratio == 1 else []


class SnnVitConfig(NetworkConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SNN-ViT: saccadic spike self-attention; residual sums of spikes.

    What the sources that could be read do not give is a field here, and its default is this project's choice.

    Attributes:
        saccade: ``v1`` weighs queries by all keys; ``v2`` has a learned constant in the place of the keys.
        num_heads: of how many parts of the channels each has a relevance of its own; 1 by default.
        dilated_stages: four characters; ``1`` where a patch stage adds a dilated convolution to the plain one (GL-SPS).
        dilation: distance of the dilated convolution's taps in pixels.
        qkv_bias: whether the q, k, v projections have a bias besides their batch norm.

    """

    family: Literal["snn-vit"] = "snn-vit"
    decay_input: bool = True
    num_heads: int = 1
    saccade: Literal["v1", "v2"] = "v1"
    dilated_stages: str = "0111"
    dilation: int = 2
    qkv_bias: bool = False

    def problems(self) -> list[tuple[str, str]]:
        """Return what only SNN-ViT can have wrong."""
        wrong = []
        if not four_flags(self.dilated_stages):
            wrong.append(("dilated_stages", "must be four characters, each 0 or 1"))
        if not 1 <= self.dilation <= _MOST_DILATION:
            wrong.append(("dilation", f"must lie in 1..{_MOST_DILATION}"))
        return wrong


#: A configuration of any family; ``family`` says which.
FamilyConfig = Ds2taConfig | SpikformerConfig | SpikeDrivenConfig | StattenConfig | SnnVitConfig

#: Every family by its name.
FAMILIES: dict[str, type[FamilyConfig]] = {
    "ds2ta": Ds2taConfig,
    "sdt": SpikeDrivenConfig,
    "snn-vit": SnnVitConfig,
    "spikformer": SpikformerConfig,
    "statten": StattenConfig,
}
