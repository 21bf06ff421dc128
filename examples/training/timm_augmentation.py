"""RandAugment, mixup and cutmix by timm (Apache-2.0).

``import timm`` needs torchvision to be built for the same device as PyTorch. The two modules that are used here need neither,
so they are loaded by themselves.
"""

import importlib.util
import random
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from training.data import shift_and_mirror

#: RandAugment of magnitude 9 with deviation 0.5, the stronger the later (timm's notation).
RAND_AUGMENT = "rand-m9-mstd0.5-inc1"

#: Parameters of the beta distributions that mixup and cutmix draw their shares from; one of both is applied to each batch.
MIXUP, CUTMIX = 0.5, 1.0

LABEL_SMOOTHING = 0.1


class TimmAugmentation:
    """Crop and mirror, RandAugment, then mixup or cutmix of the batch; the pictures stay bytes, as a deployed network sees them."""

    def __init__(self, classes: int, pixel_mean: tuple[float, ...]) -> None:
        """Take the number of classes, and the mean colour (0..1) that fills what comes in at the edges."""
        fill = tuple(round(255 * mean) for mean in pixel_mean)
        hints: dict[str, Any] = {"translate_const": 10, "img_mean": fill}
        self.rand_augment = _timm("data/auto_augment.py").rand_augment_transform(RAND_AUGMENT, hints)
        self.mixup = _timm("data/mixup.py").Mixup(MIXUP, CUTMIX, label_smoothing=LABEL_SMOOTHING, num_classes=classes)

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return pictures uint8 ``[B, H, W, 3]`` and shares ``[B, classes]``; the batch must be even."""
        images = shift_and_mirror(images, generator, most=4)
        seed = int(torch.randint(2**31, (1,), generator=generator))
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - timm draws from both
        changed = np.stack([np.asarray(self.rand_augment(Image.fromarray(image.numpy()))) for image in images])
        pictures = torch.from_numpy(changed).permute(0, 3, 1, 2).float()
        mixed, shares = self.mixup(pictures, labels)
        return mixed.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous(), shares


def _timm(path: str) -> ModuleType:
    """Load one module of timm without the package around it."""
    package = importlib.util.find_spec("timm")
    if package is None or package.submodule_search_locations is None:
        raise click.ClickException("this augmentation needs timm: pip install 'ds2ta-deploy[training]', or choose --augmentation light")
    spec = importlib.util.spec_from_file_location(f"timm_{Path(path).stem}", Path(package.submodule_search_locations[0]) / path)
    if spec is None or spec.loader is None:
        raise click.ClickException(f"timm has no {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
