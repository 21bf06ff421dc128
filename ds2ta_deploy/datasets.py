"""Labelled pictures from an ``.npz`` file or from the four idx files of the MNIST family."""

import gzip
import io
import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.errors import InputError, Problem
from ds2ta_deploy.reading import most_expanded, open_regular, read_regular

#: Where Debian's package dataset-fashion-mnist puts its files.
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")

_IDX_UINT8 = 0x08
_IDX_AXES = 4

#: What NumPy and zipfile raise on damaged archives.
_ARCHIVE_ERRORS = (
    OSError,
    ValueError,
    zipfile.BadZipFile,
    EOFError,
    TypeError,
    AttributeError,
    zlib.error,
    RuntimeError,
    MemoryError,
    KeyError,
    OverflowError,
    struct.error,
    lzma.LZMAError,
    SyntaxError,  # an array's header is a Python literal
    tokenize.TokenError,
)


@dataclass(frozen=True)
class Labelled:
    """Pictures with their classes.

    Attributes:
        images: uint8 ``[B, H, W, C]``, or frames ``[T, B, H, W, C]``.
        labels: int64 ``[B]``; None when the file has none.

    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read one idx file of unsigned bytes, plain or gzip-compressed.

    Raises:
        InputError: DS2TA-131 when it is not an idx file of bytes or its size is not the announced one, DS2TA-136 when it
            expands beyond all measure.

    """
    try:
        data = _decompress(read_regular(path), path) if path.suffix == ".gz" else read_regular(path)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(Problem("DS2TA-131", f"cannot be read: {error}", str(path))) from error
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != _IDX_UINT8 or not 1 <= data[3] <= _IDX_AXES or len(data) < 4 + 4 * data[3]:
        raise InputError(Problem("DS2TA-131", "is not an idx file of unsigned bytes", str(path)))
    shape = struct.unpack_from(f">{data[3]}I", data, 4)
    body = np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape))
    if body.size != math.prod(shape) or body.size == 0:
        raise InputError(Problem("DS2TA-131", f"announces the shape {shape} but holds {body.size} bytes", str(path)))
    return body.reshape(shape)


def _decompress(data: bytes, path: Path) -> bytes:
    """Expand a gzip file as far as a data set may."""
    most = most_expanded(len(data))
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        expanded = file.read(most + 1)
    if len(expanded) > most:
        raise InputError(_bomb(len(data), path))
    return expanded


def _bomb(stored: int, where: object) -> Problem:
    return Problem(
        "DS2TA-136", f"expands from {stored:,} bytes to more than {most_expanded(stored):,}", str(where), "store it uncompressed"
    )


def read_idx_directory(directory: Path, split: Literal["train", "test"] = "test") -> Labelled:
    """Read pictures and labels of one split from a directory of idx files.

    Raises:
        InputError: DS2TA-130 when a file is missing, DS2TA-131 when one is damaged.

    """
    stem = "train" if split == "train" else "t10k"
    images, labels = (read_idx(_find_idx(directory, f"{stem}-{kind}")) for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"))
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise InputError(Problem("DS2TA-131", f"pictures {images.shape} and labels {labels.shape} do not belong together", str(directory)))
    return Labelled(images[..., None], labels.astype(np.int64))


def _find_idx(directory: Path, name: str) -> Path:
    for candidate in (directory / name, directory / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    advice = "give a directory with the four idx files, for example Debian's package dataset-fashion-mnist"
    raise InputError(Problem("DS2TA-130", f"has no file {name} or {name}.gz", str(directory), advice))


def read_arrays(source: Path | BinaryIO, names: Sequence[str], where: object = None) -> dict[str, NDArray[Any]]:
    """Read those of the named arrays that an ``.npz`` file has, without pickle.

    Args:
        source: the file, or its path.
        names: of the arrays.
        where: what errors call the file; by default its path.

    Raises:
        InputError: DS2TA-132 when the file is no such archive, DS2TA-136 when it expands beyond all measure.

    """
    where = source if where is None else where
    try:
        with open_regular(source) if isinstance(source, Path) else source as file:
            _require_modest(file, where)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in names if name in archive.files}
    except _ARCHIVE_ERRORS as error:  # NotImplementedError is a RuntimeError
        raise InputError(Problem("DS2TA-132", f"is not a readable .npz file: {error}", str(where))) from error
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):  # of what is no array NumPy gives the bytes
        raise InputError(Problem("DS2TA-132", "is not a readable .npz file: a member is no array", str(where)))
    return arrays


def _require_modest(file: BinaryIO, where: object) -> None:
    """Require that an archive does not expand beyond all measure; its directory says how far, and unpacking stops there."""
    stored = file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        expanded = sum(member.file_size for member in archive.infolist())
    if expanded > most_expanded(stored):
        raise InputError(_bomb(stored, where))
    file.seek(0)


def npz_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return an ``.npz`` file, uncompressed so that the bytes do not depend on a compressor's version."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def read_npz(path: Path) -> Labelled:
    """Read ``images`` (or ``frames``) and, when there, ``labels`` from an ``.npz`` file, without pickle.

    Raises:
        InputError: DS2TA-132 when the file is no such archive, DS2TA-133 when arrays are missing or of another kind.

    """
    arrays = read_arrays(path, ("images", "frames", "labels"))
    return _checked(arrays, str(path))


def _checked(arrays: dict[str, NDArray[Any]], where: str) -> Labelled:
    """Require uint8 pixels of a known rank, and one integer label a sample."""
    kind = "images" if "images" in arrays else "frames"
    pixels, labels = arrays.get(kind), arrays.get("labels")
    if pixels is None:
        raise InputError(Problem("DS2TA-133", "has neither 'images' nor 'frames'", where, "save uint8 pixels under one of these names"))
    rank, batch_axis = (4, 0) if kind == "images" else (5, 1)
    problems = []
    if pixels.dtype != np.uint8:
        problems.append(
            Problem(
                "DS2TA-133", f"{kind!r} are {pixels.dtype}, not uint8", where, "give raw pixels 0..255; normalisation is part of the model"
            )
        )
    if pixels.ndim != rank:
        axes = "[B, H, W, C]" if kind == "images" else "[T, B, H, W, C]"
        problems.append(Problem("DS2TA-133", f"{kind!r} have shape {pixels.shape}, not {axes}", where))
    elif labels is not None and not _are_labels(labels, pixels.shape[batch_axis]):
        problems.append(Problem("DS2TA-133", f"'labels' are {labels.dtype} {labels.shape}, not one class number a sample", where))
    if problems:
        raise InputError(problems)
    return Labelled(pixels, None if labels is None else labels.astype(np.int64))


def _are_labels(labels: NDArray[Any], samples: int) -> bool:
    """Whether there is one non-negative class number a sample."""
    shaped = labels.dtype.kind in "iu" and labels.shape == (samples,)
    return shaped and (samples == 0 or (int(labels.min()) >= 0 and int(labels.max()) < 2**31))


def read_data(path: Path) -> Labelled:
    """Read a test set: an ``.npz`` file, or a directory with idx files.

    Raises:
        InputError: as :func:`read_npz` and :func:`read_idx_directory`; DS2TA-130 when nothing is there.

    """
    if path.is_dir():
        return read_idx_directory(path)
    if not path.is_file():
        raise InputError(Problem("DS2TA-130", "there is no such file or directory", str(path)))
    return read_npz(path)


def first_samples(data: Labelled, samples: int, batch_axis: int) -> Labelled:
    """Return the first so many samples, or all there are."""
    axis = batch_axis if data.images.ndim > batch_axis else 0
    kept = range(min(samples, data.images.shape[axis]))
    return Labelled(data.images.take(kept, axis), None if data.labels is None else data.labels[: len(kept)])


def require_labels(labels: NDArray[np.int64], classes: int, where: str) -> None:
    """Raise InputError (DS2TA-135) unless every label is one of the network's classes."""
    if (labels >= classes).any():
        raise InputError(Problem("DS2TA-135", f"has labels up to {labels.max()}, the network knows classes 0..{classes - 1}", where))
