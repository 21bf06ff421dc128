"""The artifact: a directory of files with a manifest of their hashes, checked before anything in it is used."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

import msgspec

from ds2ta_deploy import certificate_check
from ds2ta_deploy.certificate import Certificate
from ds2ta_deploy.errors import InputError, Problem
from ds2ta_deploy.graph import serialize
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ranges import profile_of, prove
from ds2ta_deploy.reading import open_regular, read_regular

MANIFEST, GRAPH, MODEL, REPORT, PAGE = "manifest.json", "graph.safetensors", "model.onnx", "report.json", "report.html"
MODEL_STEP = "model_step.onnx"
GOLDEN_INPUTS, GOLDEN_VALUES, GOLDEN_HASHES = "vectors/inputs.npz", "vectors/expected.npz", "vectors/hashes.json"

#: Distributions whose version decides the bytes of an artifact.
_WRITERS = ("ds2ta-deploy", "numpy", "onnx", "safetensors", "torch")

#: Largest manifest that is read.
_MANIFEST_LIMIT = 16 * 2**20


Decoded = TypeVar("Decoded")


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hash (SHA-256, hexadecimal) and size (bytes) of one file."""

    sha256: str
    size: int

    @classmethod
    def of(cls, data: bytes) -> "FileEntry":
        """Describe ``data``."""
        return cls(hashlib.sha256(data).hexdigest(), len(data))


class ParityEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one runtime was compared on when the artifact was written."""

    runtime: str
    samples: int
    values: int
    integers: int
    different: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an artifact is made of and from.

    Attributes:
        schema: version of this format.
        target: what it was exported for.
        inline: whether the ONNX functions are expanded.
        versions: of the tool and of the dependencies that decide the bytes.
        checkpoint: hash and size of the checkpoint, when it was exported from one.
        config: the model's configuration.
        quantization: how it was put on the grid.
        rounding: the rounding rules, in words.
        certificate: what is proved of the graph; None where there is no whole graph, as in a reproducer.
        parity: what was compared before the artifact was released; empty when verification was switched off.
        files: every other file of the artifact, by relative path.
        seal: SHA-256 of the manifest's encoding with an empty seal, so that no field changes unnoticed.

    """

    schema: Literal["ds2ta-artifact/2"] = "ds2ta-artifact/2"
    target: str
    inline: bool = False
    versions: dict[str, str]
    checkpoint: FileEntry | None = None
    config: dict[str, Any]
    quantization: dict[str, Any]
    rounding: str
    certificate: Certificate | None = None
    parity: tuple[ParityEntry, ...] = ()
    files: dict[str, FileEntry]
    seal: str = ""

    def sealed(self) -> "Manifest":
        """Return it with its seal."""
        return msgspec.structs.replace(self, seal=hashlib.sha256(encode_json(msgspec.structs.replace(self, seal=""))).hexdigest())


def writer_versions() -> dict[str, str]:
    """Versions of what decides an artifact's bytes; what is not installed is left out."""
    found = {}
    for name in _WRITERS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True)
class Artifact:
    """An artifact that was opened and whose hashes were checked.

    Attributes:
        path: its directory.
        manifest: what it claims to be.
        modified: files that are not the ones exported; empty unless that was allowed.

    """

    path: Path
    manifest: Manifest
    modified: tuple[str, ...] = ()

    @classmethod
    def open(cls, path: str | Path, *, allow_modified: bool = False) -> "Artifact":
        """Read the manifest and check every file against it.

        Raises:
            InputError: DS2TA-150 no artifact, 151 bad manifest, 152 file missing, 153 file (or manifest) not the one
                exported, 155 path outside the directory; all of them at once.

        """
        path = Path(path)
        manifest, sealed = _read_manifest(path)
        problems, modified = [], [] if sealed else [MANIFEST]
        for name, entry in manifest.files.items():
            if not _is_inside(name):
                problems.append(Problem("DS2TA-155", "the manifest names a path outside the artifact", ascii(name)))
            elif not _is_own_file(path, name):
                problems.append(Problem("DS2TA-152", "is missing, or no file of the artifact's own", str(path / name), "export again"))
            elif _hash_file(path / name) != entry:
                modified.append(name)
        if not allow_modified:
            advice = "export again, or go on with --allow-modified"
            problems += [
                Problem("DS2TA-153", "is not the file that was exported (its hash differs)", str(path / name), advice) for name in modified
            ]
        if problems:
            raise InputError(problems)
        return cls(path, manifest, tuple(modified))

    def read(self, name: str) -> bytes:
        """Return one file's bytes, those that were checked when the artifact was opened.

        Raises:
            InputError: DS2TA-152 when the manifest does not list it or it cannot be read, DS2TA-153 when it was
                changed since.

        """
        if name not in self.manifest.files:
            raise InputError(
                Problem("DS2TA-152", f"the artifact has no {name}", str(self.path), f"it was exported for {self.manifest.target}")
            )
        try:
            data = read_regular(self.path / name)
        except OSError as error:
            raise InputError(Problem("DS2TA-152", f"cannot be read: {error.strerror}", str(self.path / name))) from error
        if name not in self.modified and FileEntry.of(data) != self.manifest.files[name]:
            raise InputError(Problem("DS2TA-153", "was changed while it was being read", str(self.path / name)))
        return data

    def read_json(self, name: str, kind: type[Decoded]) -> Decoded:
        """Return one JSON file as the type it must have.

        Raises:
            InputError: DS2TA-152 when it cannot be read, DS2TA-157 when it is something else.

        """
        try:
            return msgspec.json.decode(self.read(name), type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(Problem("DS2TA-157", f"does not hold what it should: {error}", str(self.path / name))) from error

    @cached_property
    def graph(self) -> Graph:
        """The integer graph, its ranges proved.

        Raises:
            InputError: DS2TA-140 to 142 when it is no graph.
            UnsupportedError: DS2TA-210 and 211 when its ops do not fit together, 220 and 221 when a value could
                overflow or an index leave its table.

        """
        graph = serialize.from_bytes(self.read(GRAPH), str(self.path / GRAPH))
        prove(graph, profile_of(graph))
        return graph

    def check_certificate(self) -> int:
        """Derive every entry of the certificate again, by code that shares nothing with the proof; return their number.

        Raises:
            InputError: DS2TA-170 when there is none or an entry differs, 171 when the graph cannot be followed.

        """
        if self.manifest.certificate is None:
            raise InputError(Problem("DS2TA-170", "has no certificate of the graph", str(self.path / MANIFEST), "export again"))
        certificate: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self.manifest.certificate))
        return certificate_check.check(self.read(GRAPH), certificate, str(self.path / MANIFEST))


def _read_manifest(path: Path) -> tuple[Manifest, bool]:
    """Return the manifest, and whether it has the seal it was written with."""
    file = path / MANIFEST
    try:
        if not _is_own_file(path, MANIFEST):
            advice = "give the directory that an export wrote"
            raise InputError(Problem("DS2TA-150", f"is not an artifact: it has no {MANIFEST}", str(path), advice))
        if file.stat().st_size > _MANIFEST_LIMIT:
            raise InputError(Problem("DS2TA-151", f"is larger than {_MANIFEST_LIMIT} bytes", str(file)))
        manifest = msgspec.json.decode(read_regular(file), type=Manifest)
        return manifest, manifest == manifest.sealed()
    except OSError as error:
        raise InputError(Problem("DS2TA-150", f"cannot be read: {error.strerror}", str(file))) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(Problem("DS2TA-151", f"is not a manifest this version knows: {error}", str(file), "export again")) from error


def _is_inside(name: str) -> bool:
    """Whether it names something inside, in its only spelling: ``a//b`` and ``./a/b`` are ``a/b`` once more."""
    path = PurePosixPath(name)
    plain = str(path) == name and "\\" not in name and "\0" not in name
    return plain and not path.is_absolute() and ".." not in path.parts


def _is_own_file(directory: Path, name: str) -> bool:
    """Whether it is a file that really lies there: no link on the way."""
    try:
        return (directory / name).is_file() and (directory / name).resolve() == directory.resolve() / name
    except OSError:  # a name too long for the file system, a loop of links
        return False


def _hash_file(path: Path) -> FileEntry | None:
    try:
        with open_regular(path) as file:
            return FileEntry(hashlib.file_digest(file, "sha256").hexdigest(), file.tell())
    except OSError:
        return None  # unreadable is not the file that was exported


def encode_json(data: Any) -> bytes:
    """Encode for people and for hashes: sorted keys, indented, one line feed at the end."""
    return msgspec.json.format(msgspec.json.encode(data, order="sorted"), indent=1) + b"\n"


def is_artifact(path: Path) -> bool:
    """Whether there is a directory of ours, which may be replaced."""
    try:
        _read_manifest(path)
    except InputError:
        return False
    return not path.is_symlink()
