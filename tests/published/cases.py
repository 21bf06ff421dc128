"""Every published form in a small size: our config and the published network of the same sizes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from builders import EVENTS
from published.spike_driven import SpikeDriven
from published.spikformer import CIFAR, IMAGENET, Dialect, Spikformer
from published.spikformer import EVENTS as FRAMES
from torch import nn

from ds2ta_deploy.models.calibration import random_network
from ds2ta_deploy.models.families import FamilyConfig, SpikeDrivenConfig, SpikformerConfig, StattenConfig
from ds2ta_deploy.models.layers import ConvSynapses, Synapses
from ds2ta_deploy.models.network import SpikingTransformer

# Normalised pixels are multiples of 1/64, so that float32 can be exact from the first layer on; 4 x 2 tokens; the heads are
# neither as many nor as wide as anything else.
_STILL: dict[str, Any] = {
    "image_height": 16,
    "image_width": 8,
    "in_channels": 3,
    "time_steps": 4,
    "num_classes": 5,
    "embed_dim": 24,
    "depth": 2,
    "num_heads": 3,
    "pool_stages": "0011",
    "pixel_scale": 1 / 64,
    "pixel_mean": (1.5, 2.0, 1.75),
    "pixel_std": (1.0, 2.0, 1.0),
}
_FRAMES: dict[str, Any] = _STILL | EVENTS
_ALL_POOL: dict[str, Any] = {"image_height": 64, "image_width": 32, "pool_stages": "1111"}


class Case(NamedTuple):
    """A published form."""

    config: FamilyConfig
    published: Callable[[FamilyConfig], nn.Module]
    membranes: bool = True
    tokens_first: bool = False


def _sizes(config: FamilyConfig) -> dict[str, Any]:
    return {
        "channels": config.in_channels,
        "width": config.embed_dim,
        "depth": config.depth,
        "heads": config.num_heads,
        "pools": config.pool_stages,
        "steps": config.time_steps,
        "classes": config.num_classes,
        "ratio": config.mlp_ratio,
    }


def _spikformer(dialect: Dialect) -> Callable[[FamilyConfig], nn.Module]:
    return lambda config: Spikformer(dialect, tokens=config.tokens, **_sizes(config))


def _spike_driven(*, factor: float | None = None) -> Callable[[FamilyConfig], nn.Module]:
    return lambda config: SpikeDriven(**_sizes(config), erode=config.erode, chunk=getattr(config, "chunk_steps", None), factor=factor)


#: The published factor 1 / (4^2 5) is no float32 number: see test_ties.py. Here it is 1 / 64.
CASES: dict[str, Case] = {
    "spikformer-cifar": Case(SpikformerConfig(**_STILL), _spikformer(CIFAR), membranes=False, tokens_first=True),
    "spikformer-dvs": Case(
        SpikformerConfig(**(_FRAMES | _ALL_POOL), qkv_bias=False, attention_scale=0.25), _spikformer(FRAMES), membranes=False
    ),
    "spikformer-imagenet": Case(
        SpikformerConfig(**(_STILL | _ALL_POOL), qkv_bias=False, attention_order="state"), _spikformer(IMAGENET), membranes=False
    ),
    "sdt": Case(SpikeDrivenConfig(**_STILL), _spike_driven()),
    "sdt-imagenet": Case(SpikeDrivenConfig(**(_STILL | _ALL_POOL)), _spike_driven()),
    "sdt-dvs": Case(SpikeDrivenConfig(**_FRAMES, erode=True), _spike_driven()),
    "statten": Case(StattenConfig(**_STILL, chunk_steps=2, attention_scale=1 / 4), _spike_driven()),
    "statten-dvs-4": Case(
        StattenConfig(**(_FRAMES | {"time_steps": 8}), erode=True, chunk_steps=4, attention_scale=1 / 64), _spike_driven()
    ),
    "statten-dvs-5": Case(
        StattenConfig(**(_FRAMES | {"time_steps": 10}), erode=True, chunk_steps=5, attention_scale=1 / 64), _spike_driven(factor=1 / 64)
    ),
}


def our_network(config: FamilyConfig, seed: int) -> SpikingTransformer:
    """Return a random network of ours that fires, its biases before the batch norms not zero as they are initially."""
    model = random_network(config, seed, batch=4)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in model.modules():
            if isinstance(layer, Synapses | ConvSynapses) and layer.bias is not None:
                layer.bias.uniform_(-0.2, 0.2).mul_(layer.norm.running_var.sqrt())
    return model
