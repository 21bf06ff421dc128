"""What a checkpoint file holds, whoever wrote it: tensors, our own config, or the arguments of somebody's training script.

PyTorch files are read through ``weights_only=True`` and nothing else; beside tensors and plain values one class is known to
it, ``argparse.Namespace``, in which training scripts keep their arguments and whose making runs no code.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import safetensors
import torch
from torch import Tensor

from ds2ta_deploy.errors import InputError, Problem
from ds2ta_deploy.reading import open_regular
from ds2ta_deploy.torch_files import require_plain

#: Key of the single header entry, which holds the config; one entry keeps the bytes independent of any map's order.
HEADER_KEY = "ds2ta-checkpoint/1"

#: Where training scripts keep the weights, best first: timm prefers the moving average, and so do we.
_HOLDERS = ("state_dict_ema", "model_ema", "state_dict", "model")

_ZIP_MAGIC = b"PK\x03\x04"

#: What distributed training puts before every name.
_WRAPPED = "module."


@dataclass(frozen=True)
class Content:
    """What a file holds.

    Attributes:
        tensors: plain dense tensors by name.
        holder: where they lay: an entry's name, or ``file`` when they are the whole of it.
        own: whether it is a checkpoint of this package's format, which has a config.
        config: that config as it was read, unchecked.
        arguments: of the training script, as they were read, unchecked.

    """

    tensors: dict[str, Tensor]
    holder: str = "file"
    own: bool = False
    config: Any = None
    arguments: dict[str, Any] = field(default_factory=dict)


def read_content(path: Path) -> Content:
    """Read a safetensors or PyTorch file.

    Raises:
        InputError: DS2TA-101 not a checkpoint, 102 nothing that is known in it, 106 something that is no plain tensor, 108
            larger unpacked than on the disk.

    """
    try:
        with open_regular(path) as file:
            magic = file.read(4)
    except OSError as error:
        raise InputError(Problem("DS2TA-101", f"cannot be read: {error.strerror}", str(path))) from error
    return _read_torch(path) if magic == _ZIP_MAGIC else _read_safetensors(path)


def no_config(path: Path) -> InputError:
    """Return the error of a file of tensors that says of no network what it is."""
    advice = "save it with save_checkpoint, or save {'config': ..., 'state_dict': ...}"
    return InputError(Problem("DS2TA-102", f"has no config: neither 'config' beside 'state_dict' nor {HEADER_KEY!r}", str(path), advice))


def _read_safetensors(path: Path) -> Content:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise InputError(
            Problem(
                "DS2TA-101",
                f"is not a complete safetensors or PyTorch checkpoint: {error}",
                str(path),
                "check that the file was copied whole",
            )
        ) from error
    if HEADER_KEY not in metadata:
        return Content(_unwrapped(tensors))
    try:
        return Content(tensors, own=True, config=msgspec.json.decode(metadata[HEADER_KEY]))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InputError(Problem("DS2TA-102", f"the config in the header is not JSON: {error}", str(path))) from error


def _read_torch(path: Path) -> Content:
    """Read what ``torch.save`` wrote: our ``{"config": ..., "state_dict": ...}``, or any published container."""
    require_plain(path)
    try:
        with open_regular(path) as file, torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(file, map_location="cpu", weights_only=True)  # by content: torch.load goes by a file's name
    except Exception as error:  # torch raises UnpicklingError, RuntimeError, EOFError, KeyError and more on damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        advice = "where you trust it, load it and save {'state_dict': ..., 'args': ...} only: tensors and plain values"
        raise InputError(Problem("DS2TA-101", f"PyTorch refuses it with weights_only=True: {reason}", str(path), advice)) from error
    if not isinstance(content, Mapping):
        raise no_config(path)
    if "config" in content and isinstance(content.get("state_dict"), Mapping):
        return Content(_plain(content["state_dict"], path), "state_dict", own=True, config=content["config"])
    held = next((name for name in _HOLDERS if isinstance(content.get(name), Mapping)), None)
    if held is not None:
        return Content(_unwrapped(_plain(content[held], path)), held, arguments=_arguments(content.get("args")))
    if not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise no_config(path)
    return Content(_unwrapped(_plain(content, path)))


def _arguments(found: Any) -> dict[str, Any]:
    fields = vars(found) if isinstance(found, argparse.Namespace) else found
    return {name: value for name, value in fields.items() if isinstance(name, str)} if isinstance(fields, Mapping) else {}


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take ``module.`` off, when it is before every name."""
    wrapped = all(name.startswith(_WRAPPED) for name in tensors)
    return {name.removeprefix(_WRAPPED): tensor for name, tensor in tensors.items()} if wrapped else tensors


def _plain(state: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """Return the tensors, all of them dense, in memory, and no larger than the file."""
    tensors = dict(state)
    wrong = [word(name) for name, value in tensors.items() if not isinstance(name, str) or not _is_plain(value)]
    if wrong:
        raise InputError(Problem("DS2TA-106", "is not a plain dense tensor", f"{path}: {name}") for name in wrong)
    if sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) > path.stat().st_size:
        raise InputError(Problem("DS2TA-108", "its tensors share their elements, and need more memory than the file has", str(path)))
    return tensors


def word(value: Any) -> str:
    """Quote a string from a file; of anything else, which may be without end when printed, name the type."""
    return value if isinstance(value, str) else f"<{type(value).__name__}>"


def _is_plain(value: Any) -> bool:
    """Whether it is a dense tensor in memory: neither sparse nor meta, quantized or nested."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and not value.is_nested
    )
