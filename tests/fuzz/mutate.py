"""Spoil a good file: its bytes, or the structure that its readers look for. The same random numbers spoil it the same way."""

import io
import json
import pickletools
import random
import struct
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx
import support
from google.protobuf.message import Message

from ds2ta_deploy.artifact import MANIFEST

Change = Callable[[bytes, random.Random], bytes]

#: Numbers at which arithmetic and allocation go wrong.
NUMBERS = [0, 1, -1, 2, 7, 127, 128, 255, 256, 2**15, 2**16, 2**24, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, -(2**31)]
NUMBERS += [-(2**63), 10**30, 10**400]

VALUES: list[Any] = [*NUMBERS, None, True, False, 0.5, -0.0, 1e308, 5e-324, "", "x", "..", "/", "\x1b[2J", "\u202e", "é" * 50, "x" * 5000]
VALUES += [[], {}, [None], [[[[]]]], {"a": 1}, "images", "head.logits", "uint8", "cpu", float("nan"), float("inf")]


# --- bytes -----------------------------------------------------------------------------------------------------------


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


# --- JSON ------------------------------------------------------------------------------------------------------------


def spoil_json(data: bytes, random_: random.Random) -> bytes:
    """Replace, delete, rename, duplicate or nest one value somewhere in the tree."""
    tree = json.loads(data)
    places = list(_places(tree))
    if not places:
        return json.dumps(random_.choice(VALUES)).encode()
    holder, key = random_.choice(places)
    match random_.randrange(7):
        case 0 | 1:
            holder[key] = random_.choice(VALUES)
        case 2:
            del holder[key]
        case 3 if isinstance(holder, dict):
            holder[str(random_.choice(VALUES))] = holder.pop(key)
        case 4 if isinstance(holder, list):
            holder.insert(key, holder[random_.randrange(len(holder))])
        case 5:
            for _ in range(random_.choice([1, 5, 60, 900])):
                holder[key] = [holder[key]]
        case _:
            other, name = random_.choice(places)
            holder[key] = json.loads(json.dumps(other[name]))
    text = json.dumps(tree, ensure_ascii=random_.random() < 0.5)
    if isinstance(holder, dict) and holder and random_.random() < 0.15:  # a key twice
        name = random_.choice(list(holder))
        text = text.replace(json.dumps(name) + ":", f"{json.dumps(name)}: {json.dumps(random_.choice(VALUES))}, {json.dumps(name)}:", 1)
    return text.encode("utf-8", "surrogatepass")


def _places(tree: Any) -> Any:
    """Yield every (container, key) below a value."""
    if isinstance(tree, dict | list):
        for key in tree if isinstance(tree, dict) else range(len(tree)):
            yield tree, key
            yield from _places(tree[key])


# --- safetensors -----------------------------------------------------------------------------------------------------


def spoil_safetensors(data: bytes, random_: random.Random) -> bytes:
    """Change the header, the structure inside the header, or the numbers, so that the rest still fits."""
    length = int.from_bytes(data[:8], "little")
    header, body = data[8 : 8 + length], data[8 + length :]
    match random_.randrange(5):
        case 0:
            header = spoil_json(header, random_)
        case 1 | 2:
            tree = json.loads(header)
            (key,) = tree["__metadata__"]
            tree["__metadata__"][key] = spoil_json(tree["__metadata__"][key].encode(), random_).decode("utf-8", "replace")
            header = json.dumps(tree).encode()
        case 3:
            tree = json.loads(header)
            entry = tree[random_.choice([name for name in tree if name != "__metadata__"])]
            start, end = entry["data_offsets"]
            width = {"I8": 1, "I16": 2, "I32": 4, "F32": 4, "I64": 8}.get(entry["dtype"], 1)
            special = [float("nan"), float("inf"), 1e-45, 3e38, -3e38, 0.0]
            filled = struct.pack("<f", random_.choice(special)) if entry["dtype"] == "F32" else random_.randbytes(width)
            at = start + width * random_.randrange(max(1, (end - start) // width))
            body = body[:at] + filled + body[at + width :] if random_.random() < 0.7 else body[:start] + filled * ((end - start) // width) + body[end:]
        case _:
            tree = json.loads(header)
            entry = tree[random_.choice([name for name in tree if name != "__metadata__"])]
            if random_.random() < 0.5:
                entry["dtype"] = random_.choice(["I8", "U8", "I16", "F16", "BF16", "F32", "F64", "I64", "BOOL", "F8_E4M3", "C64", "F4"])
            else:
                random_.shuffle(entry["shape"])
                entry["shape"].insert(0, 1)
            header = json.dumps(tree).encode()
    return struct.pack("<Q", len(header)) + header + body


# --- archives --------------------------------------------------------------------------------------------------------


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
    instead = random_.choice([b"", one + one, data[starts[other] : starts[other + 1]], b"N", b"]", b"}", b")", b"K\x07", b"h\x01", b"cos\nsystem\n"])
    return data[: starts[at]] + instead + data[starts[at + 1] :]


# --- ONNX ------------------------------------------------------------------------------------------------------------


def spoil_onnx(data: bytes, random_: random.Random) -> bytes:
    """Change one field of one message somewhere in the file."""
    model = onnx.load_model_from_string(data)
    for _ in range(random_.choice([1, 1, 2])):
        message: Message = model
        while True:
            fields = [(field, value) for field, value in message.ListFields()]
            if not fields:
                break
            field, value = random_.choice(fields)
            below = list(value) if field.is_repeated else [value]
            if field.message_type is not None and below and random_.random() < 0.85:
                message = random_.choice(below)
                continue
            _spoil_field(message, field, random_)
            break
    return model.SerializeToString()


def _spoil_field(message: Message, field: Any, random_: random.Random) -> None:
    """Delete, repeat or replace a field's value."""
    value = getattr(message, field.name)
    if field.is_repeated:
        at = random_.randrange(len(value))
        match random_.randrange(3):
            case 0:
                del value[at]
            case 1:
                value.extend([value[random_.randrange(len(value))]])
            case _ if field.message_type is None:
                value[at] = _other(value[at], random_)
            case _:
                del value[at:]
    elif field.message_type is not None or random_.random() < 0.2:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _other(value, random_))


def _other(value: Any, random_: random.Random) -> Any:
    """Return another value of the same kind."""
    if isinstance(value, str):
        return random_.choice(["", "x", "Loop", "Identity", "head.logits", "images", value + "2", value[:-1], "\x1b[2J", "y" * 3000])
    if isinstance(value, bytes):
        return spoil_bytes(value, random_)
    if isinstance(value, float):
        return random_.choice([0.0, 1e38, -1.0])
    return random_.choice([number for number in NUMBERS if -(2**31) <= number < 2**31])


# --- files and directories -------------------------------------------------------------------------------------------


def _mixed(*structured: Change) -> Change:
    """Spoil bytes one time in three, and else the structure."""

    def change(data: bytes, random_: random.Random) -> bytes:
        return random_.choice([spoil_bytes, *structured, *structured])(data, random_)

    return change


#: How a file is spoiled, by what its name ends in.
BY_SUFFIX: dict[str, Change] = {
    ".json": _mixed(spoil_json),
    ".safetensors": _mixed(spoil_safetensors),
    ".onnx": _mixed(spoil_onnx),
    ".npz": _mixed(spoil_zip),
}


def spoil_file(change: Change) -> Callable[[Path, Path, random.Random], None]:
    """Return a function that writes a spoiled copy of a file."""

    def write(seed: Path, target: Path, random_: random.Random) -> None:
        target.write_bytes(change(seed.read_bytes(), random_))

    return write


def spoil_artifact(*, names: Sequence[str] = (), sealed: bool) -> Callable[[Path, Path, random.Random], None]:
    """Return a function that writes a copy of an artifact with one file, or the directory, spoiled.

    Args:
        names: files to choose from; by default every one.
        sealed: whether the manifest is made to fit, as whoever can change a file can do.

    """

    def write(seed: Path, target: Path, random_: random.Random) -> None:
        files = support.files_of(seed)
        name = random_.choice(list(names) or [*files, *[MANIFEST] * 4])
        if not sealed and random_.random() < 0.1:
            other = random_.choice(list(files))
            files[name], files[other] = files[other], files[name]
            if random_.random() < 0.5:
                del files[name]
        else:
            files[name] = BY_SUFFIX[Path(name).suffix](files[name], random_)
        for each, data in files.items():
            (target / each).parent.mkdir(parents=True, exist_ok=True)
            (target / each).write_bytes(data)
        if not sealed and random_.random() < 0.03:
            (target / name).unlink(missing_ok=True)
            (target / name).symlink_to(seed / name)
        if sealed:
            support.rewrite(target, name, files[name], rehash=True)

    return write


def spoil_text(data: bytes, random_: random.Random) -> bytes:
    """Swap, repeat or replace words of a text, or its bytes."""
    if random_.random() < 0.5:
        return spoil_bytes(data, random_)
    words = data.decode().split(" ")
    words[random_.randrange(len(words))] = random_.choice([*map(str, NUMBERS), "nan", "[[", "{", '"', "'''", "1979-05-27", "true", "a.b.c", "=", "\n"])
    return " ".join(words).encode()

