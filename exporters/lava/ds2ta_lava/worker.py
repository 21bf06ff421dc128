"""The process that runs Lava: ``python -m ds2ta_lava.worker JOB``, started by ``supervisor.py`` in a session of its own.

Lava hides what a process raises, and then hangs. A thread watches instead: a traceback that a process left, a
child that is gone, a supervisor that is gone. It writes down the reason and ends the whole group with SIGTERM,
upon which Python's resource tracker still clears the shared memory; SIGKILL would leak it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from . import remembering
from .arithmetic import NetworkError
from .cell import Cell
from .network import Network, read_network
from .schedule import Schedule

#: Seconds between two looks.
_INTERVAL = 0.05

#: Seconds that Lava's own way of stopping may take.
_STOPPING = 10.0


def give_reason(job: Path, kind: str, text: str) -> None:
    """Write down why the run ended; the first reason counts."""
    target = job / "reason.json"
    if not target.exists():
        partial = job / f"reason.{os.getpid()}"
        partial.write_text(json.dumps({"kind": kind, "text": text}), encoding="utf-8")
        partial.rename(target)


def first_failure(job: Path) -> str | None:
    """Return the traceback that a process left; None when there is none."""
    failed = sorted(path for path in (job / "failures").iterdir() if not path.name.startswith("."))
    return failed[0].read_text(encoding="utf-8") if failed else None


def end_group() -> None:
    """End this process and all its children, unless the group is not ours."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGTERM)
    os._exit(1)


class Watch(threading.Thread):
    """Looks after the children while they run."""

    def __init__(self, job: Path, children: list[BaseProcess]) -> None:
        super().__init__(daemon=True)
        self.job = job
        self.children = children
        self.parent = os.getppid()
        self.running = True

    def run(self) -> None:
        """Look until the run is over."""
        while self.running:
            failure = first_failure(self.job)
            if failure is not None:
                give_reason(self.job, "raised", failure)
                end_group()
            gone = [child for child in self.children if child.exitcode is not None]
            if gone and self.running:
                time.sleep(_INTERVAL)  # a process that raised may still be writing its traceback
                if not any((self.job / "failures").iterdir()):
                    give_reason(self.job, "died", f"a process of the network ended with exit code {gone[0].exitcode}")
                    end_group()
            if os.getppid() != self.parent:
                end_group()
            time.sleep(_INTERVAL)


def run(job: Path) -> None:
    """Do the job: build the network, run all samples, write the trace."""
    settings = json.loads((job / "job.json").read_text(encoding="utf-8"))
    network = read_network(Path(settings["network"]))
    wanted = list(dict.fromkeys([*settings["wanted"], network.output]))
    network.check_wanted(wanted)
    inner = sorted(network.hidden.intersection(wanted))
    if inner:
        raise NetworkError(f"inside Lava's own processes, which do not show it; the stepper does: {', '.join(inner)}")
    inputs, taken, cells, kept = np.load(job / "inputs.npy", mmap_mode="r"), 0, dict[str, Cell](), dict[str, Path]()
    if settings["frames"]:
        network = remembering.over_frames(network, len(inputs))
        taken, remembered = remembering.read(job / "begin.npz")
        cells = remembering.cells(network, remembered, taken, inputs.shape[1])
        kept = {name: job / f"kept-{index}.bin" for index, name in enumerate(remembering.shapes(network))}
    samples = network.arrange(inputs)
    np.save(job / "pixels.npy", samples)
    files = {name: job / f"value-{index}.bin" for index, name in enumerate(wanted)}
    try:
        from . import build
    except Exception:
        give_reason(job, "missing", traceback.format_exc())
        raise
    steps = len(samples) * network.time_steps
    root = build.build(network, build.Recording(files, job / "pixels.npy", job / "failures", steps, cells, kept))
    build.start(root)
    watch = Watch(job, active_children())
    watch.start()
    build.run_steps(root, steps + Schedule.of(network.processes).latency)
    watch.running = False
    if kept:
        remembering.write(job / "kept.npz", taken + network.time_steps, remembering.collect(network, kept, len(samples)))
    write_trace(job, network, files, len(samples))
    threading.Timer(_STOPPING, end_group).start()
    root.stop()
    os._exit(0)


def write_trace(job: Path, network: Network, files: dict[str, Path], samples: int) -> None:
    """Put the recorded integers together: ``[T, B, ...]`` of each value, ``[B, classes]`` of the logits."""
    trace = {}
    for name, path in files.items():
        kind = network.values[name]
        data = np.fromfile(path, kind.dtype).reshape(samples, max(kind.steps, 1), *kind.shape)
        trace[name] = data[:, 0] if kind.steps == 0 else data.swapaxes(0, 1)
    with (job / "trace.partial").open("wb") as file:
        np.savez(file, **trace)  # type: ignore[arg-type]
    (job / "trace.partial").rename(job / "trace.npz")


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    try:
        run(directory)
    except NetworkError as error:
        give_reason(directory, "invalid", str(error))
        end_group()
    except Exception:  # noqa: BLE001 - the supervisor reports it
        # Lava reports what the last process of a graph raised, without its traceback and perhaps before the watch has looked.
        failure = first_failure(directory)
        give_reason(directory, *(("failed", traceback.format_exc()) if failure is None else ("raised", failure)))
        end_group()
