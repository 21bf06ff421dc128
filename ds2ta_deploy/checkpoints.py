"""Checkpoints: trained weights plus the model's config, read safely and strictly.

The format of our own is a safetensors file whose header carries the config, or a PyTorch file of ``config`` and
``state_dict``. Files of other projects are read by :mod:`ds2ta_deploy.importing.loading`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import safetensors.torch
import torch
from torch import Tensor

from ds2ta_deploy.errors import InputError, Problem, UnsupportedError
from ds2ta_deploy.importing.containers import HEADER_KEY, Content, no_config, read_content, word
from ds2ta_deploy.models.build import build
from ds2ta_deploy.models.families import FAMILIES, FamilyConfig
from ds2ta_deploy.models.network import SpikingTransformer
from ds2ta_deploy.staging import whole_file


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
    with whole_file(Path(path)) as file:
        file.write(safetensors.torch.save(tensors, {HEADER_KEY: config}))


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
    content = read_content(path)
    if not content.own:
        raise no_config(path)
    return model_of(content, path)


def model_of(content: Content, path: Path) -> SpikingTransformer:
    """Return the model of a file of our own format; errors as :func:`load_checkpoint`."""
    parsed = parse_config(content.config, str(path))
    require_match(expected_tensors(parsed), content.tensors, path)
    model = build(parsed)
    model.load_state_dict(content.tensors)
    return model.eval()


def expected_tensors(config: FamilyConfig) -> dict[str, Tensor]:
    """Return tensors with the names, shapes and types of the network's, and no elements.

    Raises:
        InputError: DS2TA-110 naming every field of the config that contradicts itself or another one.

    """
    with torch.device("meta"):  # a lying config must not allocate
        return dict(build(config).state_dict())


def parse_config(config: Any, where: str) -> FamilyConfig:
    """Return the config that a file holds as plain values.

    Raises:
        InputError: DS2TA-102 when it is no table, 110 naming the field that is wrong.
        UnsupportedError: DS2TA-201 unknown model family.

    """
    if not isinstance(config, dict):
        raise InputError(Problem("DS2TA-102", "the config is not a table of fields", where))
    family = config.get("family")
    if not isinstance(family, str) or family not in FAMILIES:
        raise UnsupportedError(
            Problem("DS2TA-201", f"the model family {word(family)!r} is not known", where, f"known: {', '.join(FAMILIES)}")
        )
    try:
        return msgspec.convert(config, FAMILIES[family])
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # half a surrogate pair is no text
        raise InputError(Problem("DS2TA-110", str(error), f"{where}: config")) from error


def require_match(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path) -> None:
    """Compare what a file holds with what the network needs.

    Raises:
        InputError: naming every missing (DS2TA-105), unexpected (106), mis-shaped (107) and non-finite (103) tensor, all at
            once.

    """
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
