"""Write an artifact whole or not at all: under a temporary name first, renamed when nothing can go wrong any more."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

import msgspec

from ds2ta_deploy.artifact import MANIFEST, Artifact, FileEntry, Manifest, encode_json, is_artifact
from ds2ta_deploy.errors import Problem, UsageError


class Staging:
    """A directory beside the output that becomes the output in one rename."""

    def __init__(self, directory: Path, out: Path) -> None:
        """Use :func:`stage` instead."""
        self.directory = directory
        self.out = out
        self._files: dict[str, FileEntry] = {}

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write files and remember their hashes."""
        for name, data in files.items():
            target = self.directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(target, data)
            self._files[name] = FileEntry.of(data)

    def artifact(self, manifest: Manifest) -> Artifact:
        """Return what is staged so far as an artifact."""
        return Artifact(self.directory, msgspec.structs.replace(manifest, files=dict(sorted(self._files.items()))))

    def commit(self, manifest: Manifest, *, failed: bool = False) -> Artifact:
        """Write the manifest and give the directory its name: OUT, or OUT.failed.

        Raises:
            UsageError: DS2TA-501 when the name was taken meanwhile.

        """
        sealed = self.artifact(manifest).manifest.sealed()
        _write(self.directory / MANIFEST, encode_json(sealed))
        for directory in (self.directory, *(entry for entry in self.directory.rglob("*") if entry.is_dir())):
            _flush(directory)
        target = failed_path(self.out) if failed else self.out
        with _aside(target) if failed and is_artifact(target) else nullcontext():
            try:
                self.directory.rename(target)
            except OSError as error:
                if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise _taken(str(target)) from error
                raise
        _flush(target.parent)
        return Artifact(target, sealed)


@contextmanager
def _aside(target: Path) -> Iterator[None]:
    """Move an earlier failure of the same export out of the way in one step, and delete it when the new one has its name."""
    attic = _temporary(target)
    try:
        target.rename(attic / target.name)
        yield
    finally:
        shutil.rmtree(attic, ignore_errors=True)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file under a temporary name beside it, flush it and rename it: another process sees the old one or the new one.

    Raises:
        UsageError: DS2TA-502 when it cannot be written.

    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        _flush(partial)
        partial.replace(path)
        _flush(path.parent)
    except OSError as error:
        raise UsageError(Problem("DS2TA-502", f"cannot be written: {error.strerror or error}", str(path))) from error
    finally:
        partial.unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    """Write a file so that it is on the disk before the directory gets its name."""
    path.write_bytes(data)
    _flush(path)


def _flush(path: Path) -> None:
    """Put a file, or a directory's entries, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(out: Path) -> Path:
    """Make a directory beside the output under a name that nothing else has."""
    return Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))


def _taken(out: str) -> UsageError:
    return UsageError(Problem("DS2TA-501", "the output exists already", out, "remove it or choose another name with -o"))


def failed_path(out: Path) -> Path:
    """Where an export whose verification failed is left: ``OUT.failed``, or with a number if that is taken by something else."""
    target, number = out.with_name(f"{out.name}.failed"), 1
    while os.path.lexists(target) and not is_artifact(target):
        number += 1
        target = out.with_name(f"{out.name}.failed-{number}")
    return target


@contextmanager
def stage(out: Path) -> Iterator[Staging]:
    """Stage an artifact; whatever goes wrong inside, nothing half-written is left behind.

    Raises:
        UsageError: DS2TA-501 when the output exists, DS2TA-502 when it cannot be written (full disk …).

    """
    shown, out = str(out), Path(os.path.abspath(out))  # noqa: PTH100 - resolve() would follow a link at OUT
    try:
        if os.path.lexists(out):
            raise _taken(shown)
        out.parent.mkdir(parents=True, exist_ok=True)
        directory = _temporary(out)
    except OSError as error:
        raise UsageError(Problem("DS2TA-502", f"cannot be written: {error.strerror}", shown)) from error
    try:
        directory.chmod(0o755)
        yield Staging(directory, out)
    except OSError as error:
        raise UsageError(Problem("DS2TA-502", f"cannot be written: {error.strerror or error}", shown)) from error
    finally:
        shutil.rmtree(directory, ignore_errors=True)
