"""Configurations by name: the sizes that papers and published code use, and the bundled example's. Needs no PyTorch."""

from typing import Any

from ds2ta_deploy.models.families import Ds2taConfig, FamilyConfig, SnnVitConfig, SpikeDrivenConfig, SpikformerConfig, StattenConfig

#: Mean and deviation by which published code normalises the pictures of a data set.
CIFAR10_PIXELS: dict[str, Any] = {"pixel_mean": (0.4914, 0.4822, 0.4465), "pixel_std": (0.2470, 0.2435, 0.2616)}
IMAGENET_PIXELS: dict[str, Any] = {"pixel_mean": (0.485, 0.456, 0.406), "pixel_std": (0.229, 0.224, 0.225)}

#: CIFAR-10: pictures, how they are normalised, and the patch stages that make 64 tokens of one.
_CIFAR: dict[str, Any] = {
    "image_height": 32,
    "image_width": 32,
    "in_channels": 3,
    "time_steps": 4,
    "num_classes": 10,
    "pool_stages": "0011",
    **CIFAR10_PIXELS,
}

#: The same for a CPU: the first stage pools, so that no later one sees more than 16 x 16 pixels.
_SMALL_CIFAR: dict[str, Any] = _CIFAR | {"pool_stages": "1010", "embed_dim": 64, "depth": 2, "num_heads": 4}

#: ImageNet: 196 tokens.
_IMAGENET: dict[str, Any] = {
    "image_height": 224,
    "image_width": 224,
    "in_channels": 3,
    "time_steps": 4,
    "num_classes": 1000,
    "pool_stages": "1111",
    **IMAGENET_PIXELS,
}

#: Event frames of two polarities: counts, not normalised.
_EVENTS: dict[str, Any] = {
    "input_kind": "frames",
    "image_height": 128,
    "image_width": 128,
    "in_channels": 2,
    "time_steps": 10,
    "num_classes": 10,
    "pool_stages": "1111",
    "pixel_scale": 1.0,
    "pixel_mean": (0.0, 0.0),
    "pixel_std": (1.0, 1.0),
}

#: The same as 64 x 64 pixels, of which two stages make 256 tokens.
_SMALL_EVENTS: dict[str, Any] = _EVENTS | {"image_height": 64, "image_width": 64, "pool_stages": "0011"}

#: The bundled examples: Fashion-MNIST, 49 tokens of width 64.
_FASHION: dict[str, Any] = {
    "image_height": 28,
    "image_width": 28,
    "in_channels": 1,
    "time_steps": 4,
    "num_classes": 10,
    "embed_dim": 64,
    "depth": 2,
    "num_heads": 4,
    "pool_stages": "1010",
    "pixel_mean": (0.2860,),
    "pixel_std": (0.3530,),
}

PRESETS: dict[str, FamilyConfig] = {
    "ds2ta-4-384": Ds2taConfig(**_CIFAR, embed_dim=384, depth=4, num_heads=12),
    "ds2ta-2-128": Ds2taConfig(**_CIFAR, embed_dim=128, depth=2, num_heads=4),
    "ds2ta-2-64-cifar10": Ds2taConfig(**_SMALL_CIFAR, initial_decay=2, initial_denoise_threshold=1.0),
    "ds2ta-2-256": Ds2taConfig(
        **_EVENTS,
        embed_dim=256,
        depth=2,
        num_heads=16,
        qkv_bias=False,
        initial_decay=2,
        initial_denoise_threshold=2.0,
        attention_scale=0.25,
    ),
    "ds2ta-8-512": Ds2taConfig(**_IMAGENET, embed_dim=512, depth=8, num_heads=8, qkv_bias=False),
    "ds2ta-2-64": Ds2taConfig(**_FASHION, initial_decay=2, initial_denoise_threshold=1.0),
    "spikformer-4-384": SpikformerConfig(**_CIFAR, embed_dim=384, depth=4, num_heads=12),
    "spikformer-2-128": SpikformerConfig(**_CIFAR, embed_dim=128, depth=2, num_heads=4),
    "spikformer-2-64-cifar10": SpikformerConfig(**_SMALL_CIFAR),
    "spikformer-2-256": SpikformerConfig(**_EVENTS, embed_dim=256, depth=2, num_heads=16, qkv_bias=False, attention_scale=0.25),
    "spikformer-8-512": SpikformerConfig(**_IMAGENET, embed_dim=512, depth=8, num_heads=8, qkv_bias=False, attention_order="state"),
    "spikformer-2-64": SpikformerConfig(**_FASHION),
    "sdt-2-512": SpikeDrivenConfig(**_CIFAR, embed_dim=512, depth=2, num_heads=8),
    "sdt-2-256": SpikeDrivenConfig(**_SMALL_EVENTS, embed_dim=256, depth=2, num_heads=8, erode=True),
    "sdt-8-512": SpikeDrivenConfig(**_IMAGENET, embed_dim=512, depth=8, num_heads=8),
    "sdt-2-64": SpikeDrivenConfig(**_FASHION),
    "statten-2-512": StattenConfig(**_CIFAR, embed_dim=512, depth=2, num_heads=8, attention_scale=1 / 8),
    "statten-2-256": StattenConfig(
        **_SMALL_EVENTS, embed_dim=256, depth=2, num_heads=8, erode=True, chunk_steps=5, attention_scale=1 / 1280
    ),
    "statten-8-512": StattenConfig(**_IMAGENET, embed_dim=512, depth=8, num_heads=8, attention_scale=1 / 14),
    "statten-2-64": StattenConfig(**_FASHION, attention_scale=1 / 7),
    "snn-vit-4-384": SnnVitConfig(**_CIFAR, embed_dim=384, depth=4),
    "snn-vit-2-256": SnnVitConfig(**_EVENTS, embed_dim=256, depth=2, saccade="v2"),
    "snn-vit-2-64": SnnVitConfig(**(_FASHION | {"num_heads": 1})),
}
