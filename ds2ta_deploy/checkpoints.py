"""Checkpoints: trained weights plus the model's config, read safely and strictly.

The format of our own is a safetensors file whose header carries ``format`` and ``config``. PyTorch
files are read through ``weights_only=True`` and nothing else: no code in them runs.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ds2ta_deploy.errors import InputError, Problem, UnsupportedError, UsageError
from ds2ta_deploy.models.build import build
from ds2ta_deploy.models.families import FAMILIES, FamilyConfig
from ds2ta_deploy.models.network import SpikingTransformer
from ds2ta_deploy.reading import open_regular
from ds2ta_deploy.torch_files import require_plain

#: Key of the single header entry, which holds the config; one entry keeps the bytes independent of any map's order.
HEADER_KEY = "ds2ta-checkpoint/1"

_ZIP_MAGIC = b"PK\x03\x04"


def save_checkpoint(model: SpikingTransformer, path: str | Path) -> None:
    """Write weights and config as one safetensors file; the same model gives the same bytes.

    Raises:
        UnsupportedError: DS2TA-202 for a quantized model.
        UsageError: DS2TA-502 when it cannot be written; what was there stays as it was.

    Example:
        >>> save_checkpoint(model, Path("ckpt.safetensors"))  # doctest: +SKIP

    """
    if model.quantization is not None:
        raise UnsupportedError(Problem("DS2TA-202", "a quantized model is no checkpoint", mend="export it, or save the trained model"))
    tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in sorted(model.state_dict().items())}
    config = msgspec.json.encode(model.config, order="sorted").decode()
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(safetensors.torch.save(tensors, {HEADER_KEY: config}))
        partial.replace(path)
    except OSError as error:
        raise UsageError(Problem("DS2TA-502", f"cannot be written: {error.strerror or error}", str(path))) from error
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(path: str | Path) -> SpikingTransformer:
    """Read a checkpoint and return its model, in evaluation mode.

    Raises:
        InputError: DS2TA-101 not a checkpoint, 102 no config, 103 NaN or Inf, 105 missing tensor, 106 unexpected
            tensor, 107 wrong shape, 108 larger unpacked than on the disk, 110 contradictory config; all problems of one
            kind of check at once.
        UnsupportedError: DS2TA-201 unknown model family.

    Example:
        >>> model = load_checkpoint("examples/fashion_mnist/ds2ta-2-64.safetensors")  # doctest: +SKIP

    """
    path = Path(path)
    tensors, config = _read(path)
    parsed = _parse_config(config, path)
    with torch.device("meta"):  # shapes only: a lying config must not allocate
        expected = build(parsed).state_dict()
    _require_match(expected, tensors, path)
    model = build(parsed)
    model.load_state_dict(tensors)
    return model.eval()


def _read(path: Path) -> tuple[dict[str, Tensor], Any]:
    """Return tensors and the raw config of any container that is known."""
    try:
        with open_regular(path) as file:
            magic = file.read(4)
    except OSError as error:
        raise InputError(Problem("DS2TA-101", f"cannot be read: {error.strerror}", str(path))) from error
    return _read_torch(path) if magic == _ZIP_MAGIC else _read_safetensors(path)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], Any]:
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
        raise InputError(
            Problem("DS2TA-102", f"has no config in its header (entry {HEADER_KEY!r})", str(path), "save it with save_checkpoint")
        )
    try:
        return tensors, msgspec.json.decode(metadata[HEADER_KEY])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InputError(Problem("DS2TA-102", f"the config in the header is not JSON: {error}", str(path))) from error


def _read_torch(path: Path) -> tuple[dict[str, Tensor], Any]:
    """``{"config": {...}, "state_dict": {...}}`` written by ``torch.save``."""
    require_plain(path)
    try:
        with open_regular(path) as file:  # by content: torch.load chooses another reader by a file's name
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises UnpicklingError, RuntimeError, EOFError, KeyError and more on damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            Problem("DS2TA-101", f"PyTorch refuses it with weights_only=True: {reason}", str(path), "save tensors and plain values only")
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), Mapping) or "config" not in content:
        raise InputError(
            Problem("DS2TA-102", "does not hold 'state_dict' and 'config'", str(path), "save {'config': ..., 'state_dict': ...}")
        )
    tensors = dict(content["state_dict"])
    wrong = [_word(name) for name, value in tensors.items() if not isinstance(name, str) or not _is_plain(value)]
    if wrong:
        raise InputError(Problem("DS2TA-106", "is not a plain dense tensor", f"{path}: {name}") for name in wrong)
    if sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) > path.stat().st_size:
        raise InputError(Problem("DS2TA-108", "its tensors share their elements, and need more memory than the file has", str(path)))
    return tensors, content["config"]


def _word(value: Any) -> str:
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


def _parse_config(config: Any, path: Path) -> FamilyConfig:
    if not isinstance(config, dict):
        raise InputError(Problem("DS2TA-102", "the config is not a table of fields", str(path)))
    family = config.get("family")
    if not isinstance(family, str) or family not in FAMILIES:
        raise UnsupportedError(
            Problem("DS2TA-201", f"the model family {_word(family)!r} is not known", str(path), f"known: {', '.join(FAMILIES)}")
        )
    try:
        return msgspec.convert(config, FAMILIES[family])
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # half a surrogate pair is no text
        raise InputError(Problem("DS2TA-110", str(error), f"{path}: config")) from error


def _require_match(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path) -> None:
    """Name every missing, unexpected, mis-shaped and non-finite tensor, all at once."""
    problems = [Problem("DS2TA-105", "is missing", f"{path}: {name}") for name in expected if name not in found]
    for name, tensor in found.items():
        where = f"{path}: {name}"
        if name not in expected:
            problems.append(Problem("DS2TA-106", "is not part of this model", where))
        elif tensor.shape != expected[name].shape:
            problems.append(Problem("DS2TA-107", f"has shape {tuple(tensor.shape)}, the model needs {tuple(expected[name].shape)}", where))
        elif tensor.is_complex() or tensor.is_floating_point() != expected[name].is_floating_point():
            problems.append(Problem("DS2TA-107", f"has type {tensor.dtype}, the model needs {expected[name].dtype}", where))
        elif not torch.isfinite(tensor.to(torch.float32)).all():
            problems.append(Problem("DS2TA-103", "holds NaN or Inf", where, "the training diverged; use an earlier checkpoint"))
    if problems:
        raise InputError(problems)
