"""Writes small data sets of pictures: class folders, archives of them, and CIFAR-10's python batches as they were published."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np


def encoded(picture: np.ndarray, kind: str = "PNG") -> bytes:
    """Return a picture ``[H, W, 1 or 3]`` as a file; PNG loses nothing."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(file, kind)
    return file.getvalue()


def filled(folder: Path, files: dict[str, bytes]) -> Path:
    """Put files into a directory, by their path inside it."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def archived(path: Path, files: dict[str, bytes]) -> Path:
    """Put files into a zip archive."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def python2_string(data: bytes) -> bytes:
    """Return the instruction of Python 2 for a string."""
    return (b"U" + bytes([len(data)]) if len(data) < 256 else b"T" + struct.pack("<i", len(data))) + data


def python2_batch(rows: np.ndarray, labels: list[int], *, kind: bytes = b"u1", shape: tuple[int, int] | None = None) -> bytes:
    """Return a batch as it was published: written by Python 2's cPickle, protocol 2."""
    text = python2_string
    lengths = b"".join(b"J" + struct.pack("<i", length) for length in (shape or rows.shape))
    array = b"cnumpy.core.multiarray\n_reconstruct\nq\x02(cnumpy\nndarray\nq\x03K\x00\x85" + text(b"b") + b"tRq\x04"
    byte = b"cnumpy\ndtype\nq\x05(" + text(kind) + b"K\x00K\x01tRq\x06(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    state = b"(K\x01" + lengths + b"\x86" + byte + b"\x89" + text(rows.tobytes()) + b"tb"
    numbers = b"".join(b"J" + struct.pack("<i", label) for label in labels)
    items = text(b"data") + array + state + text(b"labels") + b"](" + numbers + b"e"
    return (
        b"\x80\x02}q\x01("
        + text(b"batch_label")
        + text(b"testing batch 1 of 1")
        + items
        + text(b"filenames")
        + b"]("
        + text(b"a.png")
        + b"eu."
    )


def rows_of(pictures: np.ndarray) -> np.ndarray:
    """Return pictures ``[N, 32, 32, 3]`` as a batch stores them: red, green and blue planes in one row."""
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)).reshape(len(pictures), -1)
