"""AdamW and its learning rate."""

import math

import torch

from ds2ta_deploy.models.network import SpikingTransformer


def learning_rate(step: int, total: int, peak: float, warmup: int = 200) -> float:
    """Linear warm-up, over a quarter of the training at most, then cosine decay to zero.

    Example:
        >>> learning_rate(0, 1000, 0.2), learning_rate(200, 1000, 0.2)
        (0.001, 0.2)

    """
    warmup = min(warmup, max(1, total // 4))
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def make_optimizer(model: SpikingTransformer, weight_decay: float) -> torch.optim.AdamW:
    """AdamW; decay exponents and denoiser tables have no weight decay, the exponents ten times the rate; what is frozen is left out."""
    groups: dict[str, list[torch.nn.Parameter]] = {"weights": [], "denoisers": [], "exponents": []}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        kind = "exponents" if name.endswith("window.decay") else "denoisers" if "denoiser" in name or parameter.ndim < 2 else "weights"
        groups[kind].append(parameter)
    return torch.optim.AdamW(
        [
            {"params": groups["weights"], "weight_decay": weight_decay, "lr_factor": 1.0},
            {"params": groups["denoisers"], "weight_decay": 0.0, "lr_factor": 1.0},
            {"params": groups["exponents"], "weight_decay": 0.0, "lr_factor": 10.0},
        ]
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group the rate, times the group's own factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_factor"]
