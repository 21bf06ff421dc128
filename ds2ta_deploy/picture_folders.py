"""Pictures in class folders, as JPEG or PNG: ``CLASS/NAME.jpg``, or ``train/CLASS/NAME.jpg`` and ``test/CLASS/NAME.jpg``.

A directory and a zip archive of that layout read alike. Class 0 is the first name in sorted order; pictures come sorted by
class, then by name. Files beside the class folders (a README, say) and hidden ones are no pictures.
"""

import io
import warnings
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ds2ta_deploy.errors import InputError, MissingRuntimeError, Problem
from ds2ta_deploy.reading import ARCHIVE_ERRORS, most_expanded, open_regular, read_regular, require_modest, too_expanded

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]

_SPLITS = ("train", "test")

#: What Pillow opens, and the channels of the pictures that are taken as they are.
_FORMATS, _CHANNELS = ("JPEG", "PNG"), {"L": 1, "RGB": 3}

#: Problems of a data set that are named one by one; there may be as many as pictures.
_MOST_NAMED = 20


class _Files(ABC):
    """The files of a directory or an archive, by their path inside it."""

    where: str

    @abstractmethod
    def names(self) -> list[str]:
        """Return the paths, parts separated by a slash."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the bytes of one."""

    @property
    @abstractmethod
    def stored(self) -> int:
        """Bytes that all of them take as they are stored."""


class _Directory(_Files):
    def __init__(self, root: Path) -> None:
        self.root, self.where = root, str(root)
        self._paths = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if not path.is_dir()}

    def names(self) -> list[str]:
        return list(self._paths)

    def read(self, name: str) -> bytes:
        return read_regular(self._paths[name])

    @property
    def stored(self) -> int:
        return sum(path.stat().st_size for path in self._paths.values())


class _Archive(_Files):
    def __init__(self, archive: zipfile.ZipFile, stored: int, where: str) -> None:
        self.archive, self.where, self._stored = archive, where, stored

    def names(self) -> list[str]:
        return [member.filename for member in self.archive.infolist() if not member.is_dir()]

    def read(self, name: str) -> bytes:
        return self.archive.read(name)

    @property
    def stored(self) -> int:
        return self._stored


@contextmanager
def _open(path: Path) -> Iterator[_Files]:
    """Open a directory or a zip archive; what goes wrong while it is listed names it."""
    try:
        if path.is_dir():
            yield _Directory(path)
            return
        with open_regular(path) as file:
            stored = require_modest(file, path)
            with zipfile.ZipFile(file) as archive:
                yield _Archive(archive, stored, str(path))
    except ARCHIVE_ERRORS as error:
        raise InputError(Problem("DS2TA-146", f"is no readable archive of pictures: {error}", str(path))) from error


def has_class_folders(directory: Path) -> bool:
    """Whether a directory holds folders."""
    return any(path.is_dir() and not path.name.startswith(".") for path in directory.iterdir())


def read_class_folders(path: Path, split: Literal["train", "test"]) -> Arrays:
    """Read a split of a directory or a zip archive; where there are no splits, everything.

    Returns:
        Pictures uint8 ``[N, H, W, 3]``, or ``[N, H, W, 1]`` if all of them are grey, and classes int64 ``[N]``.

    Raises:
        InputError: DS2TA-146 when the folders are not such a layout, DS2TA-147 naming the pictures that are damaged or unlike
            the first, DS2TA-136 when they expand beyond all measure.
        MissingRuntimeError: DS2TA-401 when Pillow is not installed.

    """
    try:
        import PIL.Image  # noqa: F401 - asked before a long list is read
    except ImportError as error:
        raise MissingRuntimeError(
            Problem("DS2TA-401", "reading pictures needs Pillow", str(path), "pip install 'ds2ta-deploy[images]'")
        ) from error
    with _open(path) as files:
        chosen = _choose(files, split)
        images = _decode(files, [name for name, _ in chosen])
    return images, np.array([label for _, label in chosen], np.int64)


def _choose(files: _Files, split: str) -> list[tuple[str, int]]:
    """Return the pictures of a split in order, each with its class; the classes are those of the training pictures, if any."""
    paths = [name.split("/") for name in files.names()]
    paths = [parts for parts in paths if not any(part.startswith(".") for part in parts)]
    divided = {parts[0] for parts in paths if len(parts) > 1} & set(_SPLITS)
    depth = 2 if divided else 1
    deeper = [parts for parts in paths if len(parts) > depth + 1]
    problems = [Problem("DS2TA-146", "lies deeper than a class folder", f"{files.where}/{'/'.join(parts)}") for parts in deeper]
    pictures = [parts for parts in paths if len(parts) == depth + 1 and (not divided or parts[0] in _SPLITS)]
    known_from = "train" if "train" in divided else "test"
    classes = sorted({parts[-2] for parts in pictures if not divided or parts[0] == known_from})
    unknown = sorted({"/".join(parts[:-1]) for parts in pictures if parts[-2] not in classes})
    what = f"is no class of the training pictures, which are {', '.join(classes[:_MOST_NAMED])}"
    problems += [Problem("DS2TA-146", what, f"{files.where}/{folder}") for folder in unknown]
    taken = sorted((parts for parts in pictures if not divided or parts[0] == split), key=lambda parts: parts[-2:])
    if not taken and not problems:
        advice = "the layout is CLASS/PICTURE.jpg, or train/CLASS/PICTURE.jpg and test/CLASS/PICTURE.jpg"
        problems = [Problem("DS2TA-146", f"has no class folders with pictures of the split {split!r}", files.where, advice)]
    _raise_all(problems, files.where)
    return [("/".join(parts), classes.index(parts[-2])) for parts in taken]


def _decode(files: _Files, names: Sequence[str]) -> NDArray[np.uint8]:
    """Decode the pictures, which have the size and the colours of the first, or name those that cannot be."""
    from PIL import UnidentifiedImageError

    images: NDArray[np.uint8] | None = None
    problems = []
    for number, name in enumerate(names):
        try:
            picture = _decode_one(files.read(name), None if images is None else images.shape[1:])
        except _picture_errors() as error:
            what = f"is no {' or '.join(_FORMATS)} file" if isinstance(error, UnidentifiedImageError) else f"cannot be read: {error}"
            problems.append(Problem("DS2TA-147", what, f"{files.where}/{name}"))
            continue
        if images is None:
            if len(names) * picture.size > most_expanded(files.stored):
                raise InputError(too_expanded(files.stored, files.where))
            images = np.empty((len(names), *picture.shape), np.uint8)
        images[number] = picture
    _raise_all(problems, files.where)
    return images if images is not None else np.empty((0, 0, 0, 0), np.uint8)


def _decode_one(data: bytes, shape: tuple[int, ...] | None) -> NDArray[np.uint8]:
    """Decode one picture, after its size and colours were compared with those that are expected."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)  # of a bomb that is not yet very large Pillow only warns
        with Image.open(io.BytesIO(data), formats=_FORMATS) as opened:
            if opened.mode not in _CHANNELS:
                raise ValueError(f"its colours are {opened.mode}, not {' or '.join(_CHANNELS)}")
            found = (opened.height, opened.width, _CHANNELS[opened.mode])
            if shape is not None and found != shape:
                raise ValueError(
                    f"is {found[0]} x {found[1]} x {found[2]}, the pictures before it are {shape[0]} x {shape[1]} x {shape[2]}"
                )
            return np.asarray(opened, np.uint8).reshape(found)


def _picture_errors() -> tuple[type[Exception], ...]:
    """Return what Pillow raises on damaged pictures, besides what an archive's member may raise."""
    from PIL import Image

    return (*ARCHIVE_ERRORS, Image.DecompressionBombError, Image.DecompressionBombWarning, IndexError)


def _raise_all(problems: Sequence[Problem], where: str) -> None:
    """Raise the problems, if any; of very many the first are named and the others counted."""
    if not problems:
        return
    named = list(problems[:_MOST_NAMED])
    if len(problems) > _MOST_NAMED:
        named.append(Problem(problems[-1].code, f"{len(problems) - _MOST_NAMED} more pictures or folders are wrong", where))
    raise InputError(named)
