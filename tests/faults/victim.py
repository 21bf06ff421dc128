"""Exports in child processes that are killed, starved or raced: ``python -m faults.victim`` reads a JSON request a line.

The modules are imported once; every export runs in a fork of its own, with no thread alive at the time of the fork.
"""

import json
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import builders
import support

from ds2ta_deploy.errors import Ds2taError, ParityError
from ds2ta_deploy.exporting import export
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.parity import ParityReport

#: Functions that change what is on the disk. A process is killed right before or right after one of them.
STEPS = ("open", "write", "flush", "fsync", "close", "mkdir", "chmod", "rename", "rmdir", "unlink")

#: Exit status of a child that ended in an error of ours.
TYPED = 3


class Killer:
    """Kills its own process at the n-th step; counts them all with no n."""

    def __init__(self, at: int | None) -> None:
        self.at, self.count = at, 0

    def __call__(self, _frame: FrameType, event: str, argument: Any) -> None:
        """Look at every call of a builtin function, before (c_call) and after (c_return)."""
        if event in ("c_call", "c_return") and argument.__name__ in STEPS:
            self.count += 1
            if self.count == self.at:
                os.kill(os.getpid(), signal.SIGKILL)


def run_export(graph: Graph, out: Path, *, failing: bool) -> None:
    """Export and verify; a failing one is told that an integer differs, and leaves ``OUT.failed``."""

    def tamper(report: ParityReport) -> None:
        if failing:
            report.results[0].different = 1

    export(graph, "onnx", out, inputs=builders.small_inputs(), on_report=tamper)


def child(graph: Graph, request: dict[str, Any]) -> None:
    """Do what is asked for; say the code of an error of ours, or the number of steps, and leave by the exit status."""
    out, status = Path(request["out"]), 0
    killer = Killer(request.get("at"))
    if "limit" in request:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["limit"], request["limit"]))
    try:
        sys.setprofile(killer if "at" in request else None)
        run_export(graph, out, failing=request.get("failing", False))
    except ParityError:
        status = 0 if request.get("failing") else 1
    except Ds2taError as error:
        status = TYPED
        os.write(2, f"{error.problems[0].code}\n".encode())
    except BaseException as error:  # noqa: BLE001 - a fork must not return
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        status = 2
    finally:
        sys.setprofile(None)
    if request.get("at") == 0:
        os.write(2, f"{killer.count}\n".encode())
    os._exit(status)


def serve() -> None:
    """Run a child for every request of a line, together, and answer with how each ended: status, what it said, seconds."""
    import onnxruntime  # noqa: F401 - so that children need not

    from ds2ta_deploy.exporters.onnx import to_onnx
    from ds2ta_deploy.runtimes.ort import OnnxRuntime  # noqa: F401

    graph = support.frozen(builders.build_small_graph())
    to_onnx(graph)
    for line in sys.stdin:
        requests = json.loads(line)
        started, pipes = time.monotonic(), []
        for request in requests:
            ends = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.dup2(ends[1], 2)
                child(graph, request)
            os.close(ends[1])
            pipes.append((pid, ends[0]))
        if requests[0].get("after") is not None:
            time.sleep(requests[0]["after"])
            os.kill(pipes[0][0], signal.SIGKILL)
        answers = []
        for pid, end in pipes:
            with os.fdopen(end) as said:
                words = said.read().strip()
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            answers.append([status, words, time.monotonic() - started])
        print(json.dumps(answers), flush=True)


def spread(count: int, steps: int) -> list[int]:
    """Return ``count`` steps, evenly over all of them, the first and the last among them."""
    return [1 + round(index * (steps - 1) / (count - 1)) for index in range(count)]


def moments(count: int, seconds: float) -> list[float]:
    """Return ``count`` moments of a run that takes so many seconds, the same each time."""
    return [random.Random(index).random() * seconds for index in range(count)]


if __name__ == "__main__":
    serve()
