"""Tiny networks of every family and published form, for tests of all that is done with a family. Needs no PyTorch."""

from typing import Any

import msgspec
from builders import EVENTS

from ds2ta_deploy.models.families import (
    FamilyConfig,
    SnnVitConfig,
    SpikeDrivenConfig,
    SpikformerConfig,
    StattenConfig,
)

_TINY: dict[str, Any] = {
    "image_height": 12,
    "image_width": 10,
    "in_channels": 1,
    "time_steps": 4,
    "num_classes": 5,
    "embed_dim": 32,
    "depth": 2,
    "num_heads": 4,
    "pool_stages": "1010",
    "pixel_mean": (0.3,),
    "pixel_std": (0.35,),
}

#: Every family in every form: the published dialects, event frames, both saccades, STAtten's attention on Spikformer.
CONFIGS: dict[str, FamilyConfig] = {
    "spikformer-cifar": SpikformerConfig(**_TINY),
    "spikformer-dvs": SpikformerConfig(**(_TINY | EVENTS), qkv_bias=False, attention_scale=0.25),
    "spikformer-imagenet": SpikformerConfig(**(_TINY | {"pool_stages": "1111"}), qkv_bias=False, attention_order="state"),
    "spikformer-statten": SpikformerConfig(**_TINY, attention_order="state", chunk_steps=2),
    "sdt": SpikeDrivenConfig(**_TINY),
    "sdt-dvs": SpikeDrivenConfig(**(_TINY | EVENTS | {"pool_stages": "0101"}), erode=True),
    "statten": StattenConfig(**_TINY, attention_scale=1 / 3),
    "statten-dvs": StattenConfig(**(_TINY | EVENTS), erode=True, chunk_steps=4, attention_scale=1 / 36),
    "snn-vit-v1": SnnVitConfig(**(_TINY | {"num_heads": 1})),
    "snn-vit-v2": SnnVitConfig(**(_TINY | {"num_heads": 2}), saccade="v2", dilated_stages="1010", dilation=3),
}


def changed(config: FamilyConfig, **fields: Any) -> FamilyConfig:
    """Return a config with some fields changed."""
    return msgspec.structs.replace(config, **fields)
