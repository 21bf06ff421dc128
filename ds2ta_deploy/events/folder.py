"""Labelled recordings: a directory with one folder a class."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.errors import InputError, Problem
from ds2ta_deploy.events.frames import EventReading, read_frames
from ds2ta_deploy.events.recording import is_recording

#: Problems after which a directory is not read any further.
_ENOUGH = 10


def is_recording_directory(directory: Path) -> bool:
    """Whether a directory has folders with recordings in them."""
    return any(is_recording(file) for file in directory.glob("*/*"))


def read_recordings(
    directory: Path, input_shape: tuple[int | None, ...], reading: EventReading | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read every recording of ``directory/<class>/<file>``, in the order of the names.

    A folder that is a number has that number's class, as N-MNIST's have; otherwise classes are counted from 0 in the
    order of the folders' names. What is not a folder, and names that begin with a dot, are left aside.

    Returns:
        Frames uint8 ``[T, B, H, W, 2]`` and classes int64 ``[B]``.

    Raises:
        InputError: DS2TA-180 when a file is no recording, else as :func:`ds2ta_deploy.events.frames.read_frames`; up to ten
            files that are wrong are named.

    """
    problems: list[Problem] = []
    frames, labels = [], []
    for label, folder in _classes(directory):
        for file in sorted(folder.iterdir()):
            if file.name.startswith("."):
                continue
            try:
                made = read_frames(file, input_shape, reading)
            except InputError as error:
                problems += error.problems
                if len(problems) >= _ENOUGH:
                    raise InputError(problems) from error
                continue
            frames.append(made)
            labels += [label] * made.shape[1]
    if problems:
        raise InputError(problems)
    return np.concatenate(frames, axis=1), np.array(labels, np.int64)


def _classes(directory: Path) -> list[tuple[int, Path]]:
    """Return every class with its folder."""
    folders = sorted(folder for folder in directory.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    if all(folder.name.isascii() and folder.name.isdigit() and len(folder.name) < 7 for folder in folders):
        return sorted((int(folder.name), folder) for folder in folders)
    return list(enumerate(folders))
