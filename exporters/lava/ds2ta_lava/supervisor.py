"""Starts the worker and sees to it that it ends: within a deadline, with a reason, with no process left behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Seconds that a group may take to end after SIGTERM, before SIGKILL.
_GRACE = 5.0

_HOME = Path(__file__).absolute().parent


class WorkerError(RuntimeError):
    """The worker did not do its job.

    Attributes:
        kind: ``invalid`` files or inputs, ``missing`` Lava, ``raised`` in a process, ``died``, ``deadline`` or ``failed``.

    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def run(
    network: Path,
    inputs: NDArray[Any],
    wanted: Sequence[str],
    *,
    deadline: float,
    parent: int | None = None,
    begin: Path | None = None,
    keep: Path | None = None,
) -> dict[str, NDArray[np.integer[Any]]]:
    """Run the network in ``network`` on Lava and return the wanted values and always the output.

    Args:
        network: directory of graph.json and tensors.npz.
        inputs: uint8.
        wanted: names of values.
        deadline: seconds after which the run is given up.
        parent: the process that started this one; the run is given up when it is gone.
        begin: file of what an earlier run left behind; with it, or ``keep``, the inputs are frames, any number of them.
        keep: file to write what this run leaves behind.

    Raises:
        WorkerError: whatever went wrong; no process and no shared memory is left.

    """
    job = Path(tempfile.mkdtemp(prefix="ds2ta-lava-"))
    try:
        (job / "failures").mkdir()
        settings = {"network": str(network.resolve()), "wanted": list(wanted), "frames": bool(begin or keep)}
        (job / "job.json").write_text(json.dumps(settings), encoding="utf-8")
        if begin is not None:
            shutil.copyfile(begin, job / "begin.npz")
        np.save(job / "inputs.npy", inputs)
        _work(job, deadline, parent)
        if keep is not None:
            shutil.copyfile(job / "kept.npz", keep)
        with np.load(job / "trace.npz") as file:
            return {name: file[name] for name in file.files}
    finally:
        shutil.rmtree(job, ignore_errors=True)


def _work(job: Path, deadline: float, parent: int | None) -> None:
    command = [sys.executable, "-m", f"{__package__}.worker", str(job)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    with (job / "output").open("wb") as output:
        worker = subprocess.Popen(  # noqa: S603 - this interpreter and this package
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=_root(),
            start_new_session=True,
        )
    end = time.monotonic() + deadline
    late = False
    try:
        while worker.poll() is None and not late:
            time.sleep(0.02)
            late = time.monotonic() > end or (parent is not None and os.getppid() != parent)
    finally:
        _end_group(worker)
    if late:
        raise WorkerError("deadline", f"the network did not finish within {deadline:g} seconds")
    if (job / "reason.json").exists():
        reason = json.loads((job / "reason.json").read_text(encoding="utf-8"))
        raise WorkerError(reason["kind"], reason["text"])
    if not (job / "trace.npz").exists():
        said = (job / "output").read_text(encoding="utf-8", errors="replace")[-2000:]
        raise WorkerError("died", f"the worker ended with exit code {worker.returncode}: {said}".rstrip(": "))


def _root() -> Path:
    """Directory from which this package can be imported under its name."""
    return _HOME.parents[(__package__ or "").count(".")]


def _end_group(worker: subprocess.Popen[bytes]) -> None:
    """End whatever is left of the worker's group: SIGTERM, then, if that does not do, SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + _GRACE
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.pid, number)
        while time.monotonic() < until:
            worker.poll()
            if not group_members(worker.pid):
                worker.wait()
                return
            time.sleep(0.02)


def group_members(group: int) -> list[int]:
    """Return the living processes of a group; one that ended and was not collected is not living."""
    members = []
    for entry in Path("/proc").iterdir() if Path("/proc/self/stat").exists() else ():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                state, _, belongs = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:3]
                if int(belongs) == group and state not in "ZX":
                    members.append(int(entry.name))
    if not Path("/proc/self/stat").exists():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, 0)
            members.append(group)
    return members
