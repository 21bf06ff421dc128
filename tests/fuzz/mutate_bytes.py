"""Spoil bytes, whatever they stand for."""

import random
import struct
from collections.abc import Callable

Change = Callable[[bytes, random.Random], bytes]

#: Numbers at which arithmetic and allocation go wrong.
NUMBERS = [0, 1, -1, 2, 7, 127, 128, 255, 256, 2**15, 2**16, 2**24, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, -(2**31)]
NUMBERS += [-(2**63), 10**30, 10**400]


def spoil_bytes(data: bytes, random_: random.Random) -> bytes:
    """Change one to four places of the bytes."""
    for _ in range(random_.choice([1, 1, 1, 2, 4])):
        data = random_.choice(_BYTES)(data, random_)
    return data


def _place(data: bytes, random_: random.Random) -> int:
    """Pick a place, every other time near the beginning, where headers are."""
    return random_.randrange(max(1, min(len(data), 64) if random_.random() < 0.3 else len(data)))


def _flip(data: bytes, random_: random.Random) -> bytes:
    at = _place(data, random_)
    return data[:at] + bytes([data[at] ^ (1 << random_.randrange(8))]) + data[at + 1 :] if data else b"\0"


def _overwrite(data: bytes, random_: random.Random) -> bytes:
    at = _place(data, random_)
    return data[:at] + random_.randbytes(random_.choice([1, 2, 4, 8])) + data[at + 8 :]


def _cut(data: bytes, random_: random.Random) -> bytes:
    return data[: _place(data, random_)]


def _remove(data: bytes, random_: random.Random) -> bytes:
    at = _place(data, random_)
    return data[:at] + data[at + random_.choice([1, 2, 4, 8, 64, 1024]) :]


def _insert(data: bytes, random_: random.Random) -> bytes:
    at = _place(data, random_)
    return data[:at] + random_.choice([b"\0", b"\xff" * 8, random_.randbytes(16), b"[" * 2000, b"9" * 5000, b"\xed\xa0\x80"]) + data[at:]


def _splice(data: bytes, random_: random.Random) -> bytes:
    at, source = _place(data, random_), _place(data, random_)
    size = random_.choice([4, 16, 64, 512])
    return data[:at] + data[source : source + size] + data[at + (size if random_.random() < 0.5 else 0) :]


def _length(data: bytes, random_: random.Random) -> bytes:
    """Overwrite what may be a length or an offset."""
    at = _place(data, random_) & ~3 if random_.random() < 0.5 else _place(data, random_)
    form = random_.choice(["<Q", "<I", ">I", "<H", ">Q"])
    size = struct.calcsize(form)
    return data[:at] + struct.pack(form, random_.choice(NUMBERS) % 256**size) + data[at + size :]


_BYTES: list[Change] = [_flip, _flip, _overwrite, _cut, _remove, _insert, _splice, _length, _length]
