"""Attacks run in a process of their own: little memory, little time, and nothing written."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fuzz.contained import Contained, Outcome
from fuzz.readers import READERS

Refuse = Callable[..., Outcome]


@pytest.fixture(scope="session")
def contained() -> Iterator[Contained]:
    """Return the process."""
    with Contained() as process:
        yield process


@pytest.fixture
def refused(contained, tmp_path) -> Refuse:
    """Return a function that asserts that a file is refused with these codes, and that nothing was written anywhere."""

    def refuse(reader: str, path: Path, *codes: str) -> Outcome:
        if not READERS[reader].available:
            pytest.skip(f"needs {READERS[reader].needs}")
        before = sorted(tmp_path.rglob("*"))
        found = contained.read(reader, path)
        assert (found.kind, found.codes) == ("refused", codes), found
        assert sorted(tmp_path.rglob("*")) == before
        assert contained.written == []
        assert all(line.isprintable() for line in found.words.splitlines())
        return found

    return refuse


@pytest.fixture(scope="session")
def seeds(tmp_path_factory) -> Callable[[str], Path]:
    """Return a function that gives a good file or directory for a reader, made once."""
    folder = tmp_path_factory.mktemp("seeds")

    def make(reader: str) -> Path:
        if not (folder / reader).exists():
            READERS[reader].seed(folder / reader)
        return folder / reader

    return make


@pytest.fixture
def good(tmp_path, seeds) -> Callable[[str], Path]:
    """Return a function that gives a good file or directory for a reader, to be changed."""

    def make(reader: str) -> Path:
        if not READERS[reader].available:
            pytest.skip(f"needs {READERS[reader].needs}")
        source, path = seeds(reader), tmp_path / reader
        return Path(shutil.copytree(source, path) if source.is_dir() else shutil.copyfile(source, path))

    return make
