"""Spoil an archive: its members, the headers of its arrays, the operations of its pickle."""

import io
import pickletools
import random
import struct
import warnings
import zipfile

from fuzz.mutate_bytes import NUMBERS, spoil_bytes


def spoil_zip(data: bytes, random_: random.Random) -> bytes:
    """Rename, drop, repeat, pack or spoil one member of an archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        members = [(member.filename, source.read(member)) for member in source.infolist()]
    at = random_.randrange(len(members))
    name, content = members[at]
    method = zipfile.ZIP_STORED
    match random_.randrange(6):
        case 0:
            members[at] = (random_.choice(["images.npy", "labels", "../x", "/x", "archive/data.pkl", "x" * 300, "é.npy"]), content)
        case 1:
            del members[at]
        case 2:
            members.append((f"{name}2", content))
        case 3:
            method = random_.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
        case 4 if content[:6] == b"\x93NUMPY":
            members[at] = (name, _spoil_npy(content, random_))
        case _:
            spoil = _spoil_pickle if name.endswith(".pkl") and random_.random() < 0.7 else spoil_bytes
            members[at] = (name, spoil(content, random_))
    made = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(made, "w", method) as target:
        warnings.simplefilter("ignore")  # a name twice is what is wanted
        for name, content in members:
            target.writestr(zipfile.ZipInfo(name), content, method)
    return made.getvalue()


def _spoil_npy(data: bytes, random_: random.Random) -> bytes:
    """Change what an array says of itself."""
    length = int.from_bytes(data[8:10], "little")
    header = data[10 : 10 + length].decode("latin1")
    kind = random_.choice(["|u1", "|i1", "<u2", "<i8", "<f4", "<f8", "|O", "<U9", "|V0", "<M8[s]", "|b1", "<c8", "<x1"])
    shape = tuple(random_.choice([*NUMBERS, 3, 5, 7]) for _ in range(random_.randrange(7)))
    changed = random_.choice(
        [f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}", header.replace("|u1", kind), header.replace("False", "True")]
    )
    text = changed.encode("latin1", "replace")[:60_000]
    return data[:8] + struct.pack("<H", len(text)) + text + data[10 + length :]


def _spoil_pickle(data: bytes, random_: random.Random) -> bytes:
    """Remove, repeat or replace one whole operation of a pickle."""
    starts = [place for _, _, place in pickletools.genops(data) if place is not None] + [len(data)]
    at = random_.randrange(len(starts) - 1)
    one = data[starts[at] : starts[at + 1]]
    other = random_.randrange(len(starts) - 1)
    instead = random_.choice(
        [b"", one + one, data[starts[other] : starts[other + 1]], b"N", b"]", b"}", b")", b"K\x07", b"h\x01", b"cos\nsystem\n"]
    )
    return data[: starts[at]] + instead + data[starts[at + 1] :]
