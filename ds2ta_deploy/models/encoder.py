"""Pixels in: normalisation in training, a baked table on the integer grid."""

import torch
from torch import Tensor, nn

from ds2ta_deploy.models.config import NetworkConfig


class PixelEncoder(nn.Module):
    """Normalise uint8 pixels or event counts: ``(pixel * scale - mean) / std`` for each channel.

    Shapes: uint8 ``[..., H, W, C]`` -> float of the same shape.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        """Take scale, mean and std from the config; they are constants, not parameters."""
        super().__init__()
        self.pixel_scale = config.pixel_scale
        self.register_buffer("mean", torch.tensor(config.pixel_mean), persistent=False)
        self.register_buffer("std", torch.tensor(config.pixel_std), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the normalised values."""
        return (pixels.to(self.mean.dtype) * self.pixel_scale - self.mean) / self.std


class IntegerPixelEncoder(nn.Module):
    """The baked table: a pixel or count becomes the quantized normalised value. Shapes as :class:`PixelEncoder`."""

    table: Tensor

    def __init__(self, table: Tensor) -> None:
        """Take the integer-valued table ``[C, 256]``."""
        super().__init__()
        self.register_buffer("table", table.to(torch.float64))

    def forward(self, pixels: Tensor) -> Tensor:
        """Look every pixel up in its channel's table."""
        return self.table[torch.arange(self.table.shape[0]), pixels.to(torch.int64)]
