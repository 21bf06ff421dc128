"""From a configuration to its network: the only place that maps one to the other."""

from collections.abc import Callable
from typing import Any

from ds2ta_deploy.models.config import NetworkConfig
from ds2ta_deploy.models.ds2ta import Ds2ta
from ds2ta_deploy.models.families import Ds2taConfig, SnnVitConfig, SpikeDrivenConfig, SpikformerConfig, StattenConfig
from ds2ta_deploy.models.network import SpikingTransformer
from ds2ta_deploy.models.snn_vit import SnnVit
from ds2ta_deploy.models.spike_driven import SpikeDrivenTransformer, Statten
from ds2ta_deploy.models.spikformer import Spikformer

_NETWORKS: dict[type[NetworkConfig], Callable[[Any], SpikingTransformer]] = {
    Ds2taConfig: Ds2ta,
    SnnVitConfig: SnnVit,
    SpikeDrivenConfig: SpikeDrivenTransformer,
    SpikformerConfig: Spikformer,
    StattenConfig: Statten,
}


def build(config: NetworkConfig) -> SpikingTransformer:
    """Return a freshly initialised network.

    Raises:
        InputError: DS2TA-110 naming every field of the config that contradicts itself or another one.

    Example:
        >>> build(PRESETS["ds2ta-2-64"])  # doctest: +SKIP

    """
    return _NETWORKS[type(config)](config)
