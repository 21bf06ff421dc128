"""Random networks that fire: for tests, benchmarks and trying a target before there is a checkpoint.

A freshly initialised spiking transformer is silent in evaluation mode, and comparing silence with
silence proves nothing. Here the batch norms get the statistics of real activations, and biases are
raised so that every layer fires, the attention included.
"""

import torch
from torch import Tensor, nn

from ds2ta_deploy.models.config import Ds2taConfig
from ds2ta_deploy.models.ds2ta import Ds2ta


def random_pixels(config: Ds2taConfig, batch: int, seed: int = 0) -> Tensor:
    """Return smooth random pictures, or sparse random event counts, uint8, in the network's input shape.

    Example:
        >>> random_pixels(PRESETS["ds2ta-2-64"], 2).shape  # doctest: +SKIP
        torch.Size([2, 28, 28, 1])

    """
    generator = torch.Generator().manual_seed(seed)
    size = (config.image_height, config.image_width)
    if config.input_kind == "frames":
        shape = (config.time_steps, batch, *size, config.in_channels)
        return torch.poisson(torch.full(shape, 0.25), generator).clamp(0, 255).to(torch.uint8)
    coarse = torch.rand(batch, config.in_channels, 8, 8, generator=generator)
    smooth = nn.functional.interpolate(coarse, size=size, mode="bilinear")
    noise = 0.1 * torch.rand(smooth.shape, generator=generator)
    return ((smooth + noise).clamp(0, 1) * 255).to(torch.uint8).movedim(1, -1).contiguous()


def random_network(config: Ds2taConfig, seed: int = 0, *, batch: int = 8) -> Ds2ta:
    """Return a network with random weights whose every layer fires.

    Args:
        config: the architecture.
        seed: of weights and calibration pictures.
        batch: pictures used to calibrate the batch norms.

    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Ds2ta(config)
        norms = {name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)}
        with torch.no_grad():
            for name, norm in norms.items():
                norm.momentum = None  # running statistics become the plain mean over all batches seen
                norm.weight.uniform_(0.8, 1.2)
                norm.bias.uniform_(-0.2, 0.2)
                if name.rsplit(".", 2)[-2] in ("q", "k", "v"):
                    norm.bias.add_(0.25)
            for name, parameter in model.named_parameters():
                if name.endswith("window.decay"):
                    parameter.copy_(torch.randint(1, config.initial_decay + 1, ()))
            model.train()
            model(random_pixels(config, batch, seed))
    return model.eval()
