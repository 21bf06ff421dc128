"""Checkpoint files as other projects write them: every dialect and container, made from random networks of ours."""

import argparse
from functools import cache
from pathlib import Path
from typing import Any

import builders
import msgspec
from builders import EVENTS
from family_configs import CONFIGS, changed

from ds2ta_deploy.models.families import FamilyConfig

#: Case -> dialect and config. Sizes are tiny; only the names and the number of axes are the published ones.
PUBLISHED: dict[str, tuple[str, FamilyConfig]] = {
    "spikformer-cifar": ("spikformer-cifar", CONFIGS["spikformer-cifar"]),
    "spikformer-dvs": ("spikformer-dvs", CONFIGS["spikformer-dvs"]),
    "spikformer-imagenet": ("spikformer-imagenet", CONFIGS["spikformer-imagenet"]),
    "spikformer-statten": ("spikformer-cifar", CONFIGS["spikformer-statten"]),
    "sdt": ("sdt", CONFIGS["sdt"]),
    "sdt-dvs": ("sdt", CONFIGS["sdt-dvs"]),
    "statten": ("statten", CONFIGS["statten"]),
    "statten-dvs": ("statten", CONFIGS["statten-dvs"]),
    "ds2ta": ("ds2ta-cifar", builders.tiny_config()),
    "ds2ta-dvs": ("ds2ta-dvs", builders.tiny_config(**EVENTS, qkv_bias=False, attention_scale=0.25, decay_input=True)),
    "snn-vit-v1": ("snn-vit-cifar", changed(CONFIGS["snn-vit-v1"], qkv_bias=True)),
    "snn-vit-v2": ("snn-vit-dvs", CONFIGS["snn-vit-v2"]),
}

#: What the flags are called in Python, by the name of the config's field; two of them say the size.
_SAID = ("time_steps", "num_heads", "pool_stages", "input_kind", "pixel_mean", "pixel_std", "chunk_steps", "erode", "attention_scale")
_SAID_TOO = ("decay_input", "temporal_window", "pixel_scale")


@cache
def network(case: str) -> Any:
    """Return a random network that fires."""
    from ds2ta_deploy.models.calibration import random_network

    return random_network(PUBLISHED[case][1], 3, batch=4)


def state_of(case: str) -> dict[str, Any]:
    """Return a published state dict: every live tensor under its published name, and every dead one. A copy: change it."""
    return {name: tensor.clone() for name, tensor in _state_of(case).items()}


@cache
def _state_of(case: str) -> dict[str, Any]:
    import torch

    from ds2ta_deploy.importing.mapping import published_keys, to_published

    dialect, config = PUBLISHED[case]
    live = to_published(network(case).state_dict(), dialect)
    shapes = published_keys(config, dialect)
    assert set(live) <= set(shapes)
    assert all(tuple(live[name].shape) == shapes[name] for name in live)
    return live | {name: torch.full(shape, 7.0) for name, shape in shapes.items() if name not in live}


def said_of(case: str) -> dict[str, Any]:
    """Return what has to be said of a bare file of this network: everything, no published size being this small."""
    config = PUBLISHED[case][1]
    said = {name: getattr(config, name) for name in (*_SAID, *_SAID_TOO) if hasattr(config, name)}
    if getattr(config, "dilated_stages", "0") != "0":
        said["dilation"] = config.dilation
    return said | {"arch": config.family, "image_size": (config.image_height, config.image_width)}


def arguments_of(case: str) -> argparse.Namespace:
    """Return a training script's arguments, under the names of the script of that family."""
    config = PUBLISHED[case][1]
    steps = {"spikformer-cifar": "time_step", "spikformer-dvs": "T"}.get(PUBLISHED[case][0], "time_steps")
    fields = {steps: config.time_steps, "num_heads": config.num_heads, "img_size": [config.image_height, config.image_width]}
    fields |= {"mean": list(config.pixel_mean), "std": list(config.pixel_std), "opt": "adamw", "lr": 1e-3, "output": None, "seed": 42}
    if config.family in ("sdt", "statten"):
        fields |= {"pooling_stat": config.pool_stages, "dvs_mode": config.erode, "spike_mode": "lif", "TET": False}
    if config.family == "statten":
        fields |= {"chunk_size": config.chunk_steps, "attention_mode": "STAtten"}
    return argparse.Namespace(**fields)


def contained(container: str, state: dict[str, Any], arguments: argparse.Namespace | None = None) -> Any:
    """Return what a training script of this kind saves."""
    import torch

    wrong = {name: torch.full_like(tensor, 3) for name, tensor in state.items()}
    more = {"epoch": 3, "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}}
    more |= {} if arguments is None else {"args": arguments}
    match container:
        case "bare":
            return state
        case "module":
            return {f"module.{name}": tensor for name, tensor in state.items()}
        case "timm":
            return {"arch": "sdt", "version": 2, "metric": 91.5, "amp_scaler": {"scale": 65536.0}, "state_dict": state, **more}
        case "timm-ema":
            return {"arch": "sdt", "version": 2, "state_dict": wrong, "state_dict_ema": state, **more}
        case "sew-resnet":
            return {"model": state, "lr_scheduler": {"last_epoch": 3}, "max_test_acc1": 78.9, "test_acc5_at_max_test_acc1": 97.0, **more}
        case "mae":
            wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
            return {"model": wrapped, "scaler": {"scale": 1.0}, **more}
    raise AssertionError(container)


#: Every container that :func:`contained` knows.
CONTAINERS = ("bare", "module", "timm", "timm-ema", "sew-resnet", "mae")


def write(path: Path, case: str, container: str = "bare", *, arguments: bool = False, **changes: Any) -> Path:
    """Write a checkpoint; ``changes`` replace tensors, None leaves one out."""
    import torch

    state = {name: tensor for name, tensor in (state_of(case) | changes).items() if tensor is not None}
    torch.save(contained(container, state, arguments_of(case) if arguments else None), path)
    return path


def as_flags(said: dict[str, Any]) -> list[str]:
    """Return what is said as the flags of the command line."""
    flags: list[str] = []
    names = {"num_heads": "--heads"}
    for name, value in said.items():
        flag = names.get(name, f"--{name.replace('_', '-')}")
        if name == "input_kind":
            flags.append("--events" if value == "frames" else "--images")
        elif isinstance(value, bool):
            flags.append(flag if value else f"--no-{flag[2:]}")
        else:
            separator = "x" if name == "image_size" else ","
            flags += [flag, separator.join(map(repr, value)) if isinstance(value, tuple) else str(value)]
    return flags


def plain(config: FamilyConfig) -> dict[str, Any]:
    """Return the config as plain values, without what only training reads."""
    fields: dict[str, Any] = msgspec.to_builtins(config)
    return {name: value for name, value in fields.items() if not name.startswith("initial_")}
