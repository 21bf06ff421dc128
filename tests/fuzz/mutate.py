"""Spoil a good file: its bytes, or the structure that its readers look for. The same random numbers spoil it the same way."""

import json
import random
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx
import support
from fuzz.mutate_archives import spoil_zip
from fuzz.mutate_bytes import NUMBERS, Change, spoil_bytes
from google.protobuf.message import Message

from ds2ta_deploy.artifact import MANIFEST

VALUES: list[Any] = [*NUMBERS, None, True, False, 0.5, -0.0, 1e308, 5e-324, "", "x", "..", "/", "\x1b[2J", "\u202e", "é" * 50, "x" * 5000]
VALUES += [[], {}, [None], [[[[]]]], {"a": 1}, "images", "head.logits", "uint8", "cpu", float("nan"), float("inf")]


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
            body = (
                body[:at] + filled + body[at + width :]
                if random_.random() < 0.7
                else body[:start] + filled * ((end - start) // width) + body[end:]
            )
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
                value[at] = _other(field, value[at], random_)
            case _:
                del value[at:]
    elif field.message_type is not None or random_.random() < 0.2:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _other(field, value, random_))


def _other(field: Any, value: Any, random_: random.Random) -> Any:
    """Return another value of the same kind."""
    if field.enum_type is not None:  # Python's protobuf takes no other; spoiled bytes hold them
        return random_.choice(field.enum_type.values).number
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
    ".py": spoil_bytes,
    **dict.fromkeys((".c", ".h", ".md", ".txt", ""), spoil_bytes),
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


def spoil_files(*names: str) -> Callable[[Path, Path, random.Random], None]:
    """Return a function that writes a copy of a directory with one of these files spoiled."""

    def write(seed: Path, target: Path, random_: random.Random) -> None:
        chosen = random_.choice(names)
        target.mkdir()
        for name in names:
            data = (seed / name).read_bytes()
            (target / name).write_bytes(BY_SUFFIX[Path(name).suffix](data, random_) if name == chosen else data)

    return write


def spoil_text(data: bytes, random_: random.Random) -> bytes:
    """Swap, repeat or replace words of a text, or its bytes."""
    if random_.random() < 0.5:
        return spoil_bytes(data, random_)
    words = data.decode().split(" ")
    words[random_.randrange(len(words))] = random_.choice(
        [*map(str, NUMBERS), "nan", "[[", "{", '"', "'''", "1979-05-27", "true", "a.b.c", "=", "\n"]
    )
    return " ".join(words).encode()
