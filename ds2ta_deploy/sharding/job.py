"""What is to be done with every shard, and all that its result depends on."""

import dataclasses
import hashlib
import platform
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import msgspec

from ds2ta_deploy.artifact import MANIFEST, Artifact, encode_json, writer_versions
from ds2ta_deploy.datasets import Labelled
from ds2ta_deploy.parity import Progress
from ds2ta_deploy.reading import read_regular

Result = TypeVar("Result")


#: Distributions whose version may decide a result, besides those that decide an artifact's bytes.
_ENGINES = ("onnxruntime",)


@dataclass(frozen=True)
class Opened(Generic[Result]):
    """A job whose files were read.

    Attributes:
        run: runs a shard, and tells how many of its samples are done.
        input_shape: of the inputs, None for the batch.

    """

    run: Callable[[Labelled, Progress | None], Result]
    input_shape: tuple[int | None, ...]

    @property
    def batch_axis(self) -> int:
        """Axis of the inputs along which samples lie."""
        return self.input_shape.index(None)


@dataclass(frozen=True)
class Bundle:
    """Files that a job reads, by relative name, so that a worker needs no disk in common with who asks."""

    files: dict[str, bytes]

    @property
    def sha256(self) -> str:
        """Hash of names and contents."""
        return hashlib.sha256(encode_json({name: hashlib.sha256(data).hexdigest() for name, data in self.files.items()})).hexdigest()

    def unpack(self, root: Path) -> None:
        """Write the files below a directory."""
        for name, data in self.files.items():
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)


@dataclass(frozen=True)
class Job(ABC, Generic[Result]):
    """One kind of work on shards of samples; a subclass's fields are its settings, and all of them can be pickled.

    Attributes:
        source: an artifact's directory, or a checkpoint.
        checkpoint: the one behind the artifact, where it is needed.

    """

    #: What the work is called.
    kind: ClassVar[str]
    #: Most samples of a shard; fixed, so that the shards do not depend on who does them.
    shard_samples: ClassVar[int]
    #: Type of a shard's result: plain data that goes to JSON and comes back equal.
    result: ClassVar[type[Any]]

    source: Path
    checkpoint: Path | None

    @property
    def splits(self) -> bool:
        """Whether the samples may be cut at all."""
        return True

    @abstractmethod
    def open(self) -> Opened[Result]:
        """Read the files; everything that can be wrong with them is said here."""

    def settings(self) -> dict[str, Any]:
        """Everything but the files and the samples that a result depends on."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain: dict[str, Any] = msgspec.to_builtins({k: v for k, v in fields.items() if k not in ("source", "checkpoint")}, enc_hook=str)
        return plain

    def bundle(self) -> Bundle:
        """Return the files."""
        files = _files(self.source, "source") | ({} if self.checkpoint is None else _files(self.checkpoint, "checkpoint"))
        return Bundle(files)

    def moved(self, root: Path) -> Self:
        """Return the same job on files that were unpacked below a directory."""
        checkpoint = None if self.checkpoint is None else root / "checkpoint" / self.checkpoint.name
        return dataclasses.replace(self, source=root / "source" / self.source.name, checkpoint=checkpoint)

    def identity(self, bundle: Bundle) -> bytes:
        """Return everything but the samples that a result depends on, as bytes to hash."""
        return encode_json({"kind": self.kind, "versions": versions(), "files": bundle.sha256, "settings": self.settings()})


def versions() -> dict[str, str]:
    """Versions of what computes."""
    found = {"python": platform.python_version(), **writer_versions()}
    for name in _ENGINES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _files(path: Path, folder: str) -> dict[str, bytes]:
    """Return a checkpoint, or an artifact's files."""
    if not path.is_dir():
        return {f"{folder}/{path.name}": read_regular(path)}
    artifact = Artifact.open(path, allow_modified=True)  # whoever opens the copy decides what is allowed
    return {f"{folder}/{path.name}/{name}": read_regular(path / name) for name in (MANIFEST, *artifact.manifest.files)}
