"""What the tests of the Lava target share. Needs neither Lava nor PyTorch."""

import importlib.util
import time
from pathlib import Path

import pytest

from ds2ta_deploy.exporters.lava import to_lava
from ds2ta_deploy.graph.graph import Graph


def write_export(graph: Graph, directory: Path) -> Path:
    """Write the files of the export and return the directory that holds them."""
    for name, data in to_lava(graph).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory / "lava"


#: Marks tests that need the real Lava.
needs_lava = pytest.mark.skipif(importlib.util.find_spec("lava") is None, reason="needs Lava: ds2ta lava install")


def processes_of(folder: Path) -> list[int]:
    """Return the living processes whose command line or working files lie in a folder, and their children."""
    living = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent, group = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:3]
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if state not in "ZX":
                living[int(entry.name)] = (int(parent), int(group), command)
    ours = {pid for pid, (_, _, command) in living.items() if str(folder).encode() in command}
    groups = {living[pid][1] for pid in ours}
    return sorted(pid for pid, (_, group, _) in living.items() if pid in ours or group in groups)


def worker_of(folder: Path, *, seconds: float = 20.0) -> list[int]:
    """Wait until a network runs in a folder; return its processes, the worker first, then those that it made."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        recorded = [path for path in folder.glob("ds2ta-lava-*/value-*.bin") if path.stat().st_size]
        if recorded:
            job = recorded[0].parent
            return [pid for pid in processes_of(job) if str(job).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()]
        time.sleep(0.02)
    raise AssertionError("no network began to run")


def shared_memory() -> set[str]:
    """Return the names of Python's shared-memory segments."""
    directory = Path("/dev/shm")  # noqa: S108 - where Linux shows shared memory; only read
    return {path.name for path in directory.glob("psm_*")} if directory.is_dir() else set()


class Leftovers:
    """What must be gone when a run has ended: processes with files in a folder, and new shared memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before = shared_memory()

    def assert_none(self) -> None:
        """Assert that nothing is left; the last ones may take a moment to end."""
        end = time.monotonic() + 5
        while time.monotonic() < end and (processes_of(self.folder) or shared_memory() - self.before):
            time.sleep(0.05)
        assert processes_of(self.folder) == []
        assert shared_memory() - self.before == set()
        assert [path.name for path in self.folder.glob("ds2ta-lava-*")] == []
