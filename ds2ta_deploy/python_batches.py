"""CIFAR-10's python batches: ``data_batch_1`` to ``data_batch_5``, ``test_batch`` and, where it is, ``batches.meta``.

Each is a pickle of a dictionary: ``data`` uint8 ``[N, 3072]``, a picture's red, green and blue plane of 32 x 32 pixels in one
row, and ``labels``, N class numbers.
"""

import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.errors import InputError, Problem
from ds2ta_deploy.plain_pickles import PickledArray, PickleRefusedError, read_plain_pickle
from ds2ta_deploy.reading import read_regular

#: Colours, rows, columns.
_PICTURE = (3, 32, 32)

_CLASSES = 10

_TRAIN = re.compile(r"data_batch_(\d+)")
_TEST = "test_batch"

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]


def is_batch(path: Path) -> bool:
    """Whether the file has the name of a batch."""
    return path.name == _TEST or _TRAIN.fullmatch(path.name) is not None


def has_batches(directory: Path) -> bool:
    """Whether a directory holds a batch of either split."""
    return any(is_batch(path) for path in directory.iterdir())


def read_batches(directory: Path, split: Literal["train", "test"]) -> Arrays:
    """Read a split, its batches in the order of their numbers.

    Returns:
        Pictures uint8 ``[N, 32, 32, 3]`` and classes int64 ``[N]``.

    Raises:
        InputError: DS2TA-130 when the split has no batch, DS2TA-145 naming everything that is wrong in any of them.

    """
    if split == "test":
        paths = [directory / _TEST]
    else:
        numbers = {path: int(found[1]) for path in directory.iterdir() if (found := _TRAIN.fullmatch(path.name))}
        paths = sorted(numbers, key=lambda path: numbers[path])
    if not paths or not paths[0].exists():
        raise InputError(
            Problem(
                "DS2TA-130", f"has no batch of the split {split!r}", str(directory), "the files are named data_batch_1 … and test_batch"
            )
        )
    parts: list[Arrays] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            parts.append(read_batch(path))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    images, labels = zip(*parts, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def read_batch(path: Path) -> Arrays:
    """Read one batch, without running the pickle that it is.

    Returns:
        Pictures uint8 ``[N, 32, 32, 3]`` and classes int64 ``[N]``.

    Raises:
        InputError: DS2TA-145 when it is damaged, holds code, or is another thing; all that is wrong with its labels at once.

    """
    try:
        batch = read_plain_pickle(read_regular(path))
    except (OSError, PickleRefusedError) as error:
        raise InputError(_problem(path, str(error))) from error
    if not isinstance(batch, dict):
        raise InputError(_problem(path, "is no dictionary"))
    data, labels = (batch.get(name, batch.get(name.encode())) for name in ("data", "labels"))
    pixels = data.array if isinstance(data, PickledArray) else None
    size = int(np.prod(_PICTURE))
    if pixels is None or pixels.ndim != 2 or pixels.shape[1] != size:
        raise InputError(_problem(path, f"has no 'data' of {size} bytes a picture"))
    problems = _label_problems(path, labels, len(pixels))
    if problems:
        raise InputError(problems)
    return np.ascontiguousarray(pixels.reshape(-1, *_PICTURE).transpose(0, 2, 3, 1)), np.array(labels, np.int64)


def _label_problems(path: Path, labels: Any, pictures: int) -> list[Problem]:
    """Return what is wrong with the labels: their kind, their number, and the ones that are no class."""
    if type(labels) is not list or not all(type(label) is int for label in labels):
        return [_problem(path, "has no list of class numbers 'labels'")]
    problems = []
    if len(labels) != pictures:
        problems.append(_problem(path, f"has {len(labels)} labels for {pictures} pictures"))
    wrong = {number: label for number, label in enumerate(labels) if not 0 <= label < _CLASSES}
    if wrong:
        first, label = next(iter(wrong.items()))
        what = f"{len(wrong)} labels lie outside 0..{_CLASSES - 1}, the first is {label} of picture {first}"
        problems.append(_problem(path, what))
    return problems


def _problem(path: Path, what: str) -> Problem:
    return Problem("DS2TA-145", what, str(path), "give a batch of CIFAR-10's python version")
