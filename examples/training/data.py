"""Pictures for training, and how they are changed before each use."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ds2ta_deploy.datasets import Labelled


@dataclass(frozen=True)
class Split:
    """Pictures uint8 ``[B, H, W, C]`` and classes int64 ``[B]``."""

    images: Tensor
    labels: Tensor


#: Takes pictures, classes int64 ``[B]`` and a source of chance; returns pictures, and classes or shares ``[B, classes]``.
Augmentation = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]


def to_split(data: Labelled) -> Split:
    """Take over a data set that has labels.

    Raises:
        ValueError: when it has none.

    """
    if data.labels is None:
        raise ValueError("training needs labels")
    return Split(torch.from_numpy(data.images.copy()), torch.from_numpy(data.labels))


def shift_and_mirror(images: Tensor, generator: torch.Generator, most: int = 2) -> Tensor:
    """Shift every picture by up to ``most`` pixels and mirror half of them; what comes in at the edges is black.

    Shapes: ``[B, H, W, C]`` -> the same shape and type.
    """
    height, width = images.shape[1:3]
    padded = functional.pad(images, (0, 0, most, most, most, most))
    offsets = torch.randint(0, 2 * most + 1, (2, len(images)), generator=generator)
    rows = offsets[0][:, None] + torch.arange(height)
    columns = offsets[1][:, None] + torch.arange(width)
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    return padded[torch.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]]


def light(images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Shift by up to four pixels and mirror; the classes stay. An :data:`Augmentation` that costs next to nothing."""
    return shift_and_mirror(images, generator, most=4), labels
