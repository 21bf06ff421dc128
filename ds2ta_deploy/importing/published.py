"""What was published with one value only, so that nobody need say it again. Needs no PyTorch.

Every entry is from the published scripts and their configuration files (DS2TA: from its paper); where two values were
published, or none, there is no entry, and it has to be said.
"""

from collections.abc import Mapping
from typing import Any

from ds2ta_deploy.models.presets import CIFAR10_PIXELS, IMAGENET_PIXELS

_CIFAR: dict[str, Any] = {"time_steps": 4, "image_height": 32, "image_width": 32, "pool_stages": "0011"}
_IMAGENET: dict[str, Any] = {
    "time_steps": 4,
    "image_height": 224,
    "image_width": 224,
    "pool_stages": "1111",
    **IMAGENET_PIXELS,
}
_CIFAR100_PIXELS: dict[str, Any] = {"pixel_mean": (0.5071, 0.4867, 0.4408), "pixel_std": (0.2675, 0.2565, 0.2761)}
_DVS: dict[str, Any] = {"image_height": 128, "image_width": 128}
_SMALL_DVS: dict[str, Any] = {"image_height": 64, "image_width": 64, "pool_stages": "0011", "erode": True}

#: (dialect, channels of the input, classes) -> fields.
_DATA_SETS: dict[tuple[str, int, int], dict[str, Any]] = {
    ("spikformer-cifar", 3, 10): _CIFAR | CIFAR10_PIXELS,
    ("spikformer-cifar", 3, 100): _CIFAR,
    ("spikformer-dvs", 2, 10): _DVS,
    ("spikformer-imagenet", 3, 1000): _IMAGENET,
    ("ds2ta-cifar", 3, 10): _CIFAR,
    ("ds2ta-cifar", 3, 100): _CIFAR,
    ("ds2ta-dvs", 2, 10): _DVS | {"time_steps": 10},
    ("sdt", 3, 10): _CIFAR | CIFAR10_PIXELS,
    ("sdt", 3, 100): _CIFAR | _CIFAR100_PIXELS,
    ("sdt", 3, 1000): _IMAGENET,
    ("sdt", 2, 10): _SMALL_DVS | {"time_steps": 10},
    ("sdt", 2, 11): {"image_height": 128, "image_width": 128, "pool_stages": "0111", "erode": False},
    ("statten", 3, 10): _CIFAR,
    ("statten", 3, 100): _CIFAR,
    ("statten", 3, 1000): _IMAGENET,
    ("statten", 2, 10): _SMALL_DVS,
}

#: (dialect, width) -> heads; the membrane-shortcut families have eight at any width.
_HEADS = {("spikformer-cifar", 384): 12, ("spikformer-dvs", 256): 16, ("spikformer-imagenet", 512): 8}

#: Dialect -> what its code has written into it.
_WRITTEN_IN: dict[str, dict[str, Any]] = {
    "spikformer-cifar": {"pool_stages": "0011", "attention_scale": 1 / 8, "chunk_steps": 1, "decay_input": True},
    "spikformer-dvs": {"pool_stages": "1111", "attention_scale": 1 / 4, "chunk_steps": 1, "decay_input": True},
    "spikformer-imagenet": {"pool_stages": "1111", "attention_scale": 1 / 8, "chunk_steps": 1, "decay_input": True},
    "ds2ta-cifar": {"pool_stages": "0011", "attention_scale": 1 / 8, "temporal_window": 3},
    "ds2ta-dvs": {"pool_stages": "1111", "attention_scale": 1 / 4, "temporal_window": 3},
    "sdt": {"num_heads": 8, "decay_input": True},
    "statten": {"num_heads": 8, "decay_input": True},
}


def published_values(dialect: str, sizes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the config for which one value was published, for a network of these sizes.

    Example:
        >>> published_values("spikformer-dvs", {"in_channels": 2, "num_classes": 10, "embed_dim": 256})["num_heads"]
        16

    """
    channels, classes, width = (sizes.get(name, 0) for name in ("in_channels", "num_classes", "embed_dim"))
    found = _WRITTEN_IN.get(dialect, {}) | _DATA_SETS.get((dialect, channels, classes), {})
    if (dialect, width) in _HEADS:
        found = found | {"num_heads": _HEADS[dialect, width]}
    kinds = {2: "frames", 3: "images"}
    if channels in kinds:  # two channels are the polarities of events, in every published network
        found = found | {"input_kind": kinds[channels]}
    if dialect in ("sdt", "statten") and found.get("input_kind") == "images":
        found = found | {"erode": False}
    return found
