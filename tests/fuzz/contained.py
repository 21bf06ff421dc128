"""Read hostile files in a process of its own, with little memory, little time and nothing to break.

The process takes one request a line and answers in one line; a file that kills it, or keeps it busy for more than ten
seconds of computing, costs that process, not the test run.
"""

import contextlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

TESTS = Path(__file__).resolve().parents[1]

#: Seconds of computing that one file may cost, and seconds by the clock after which a process that does nothing is given up.
COMPUTING, WAITING = 10, 120

#: Bytes of address space that reading may take beyond what the process has after its imports.
MEMORY = 2 * 2**30


@dataclass(frozen=True)
class Outcome:
    """How reading one file ended.

    Attributes:
        kind: ``refused`` (an error of ours), ``accepted``, ``untyped`` (any other exception), ``violated`` (accepted although
            an invariant does not hold), ``hang`` or ``crash``.
        codes: the error's codes, each once.
        payload: hash of what was read.
        words: the error's text.
        memory: largest resident size of the process so far, MiB.

    """

    kind: str
    codes: tuple[str, ...] = ()
    payload: str = ""
    words: str = ""
    memory: int = 0


class ViolationError(Exception):
    """What was accepted does not have the properties that acceptance promises."""


class Contained:
    """A process that reads files; started when it is needed, and again after it died."""

    def __init__(self, program: str = "from fuzz.contained import serve; serve()") -> None:
        self._program = program
        self._process: subprocess.Popen[str] | None = None
        self._folder = tempfile.TemporaryDirectory()

    def read(self, reader: str, path: Path) -> Outcome:
        """Let the reader of this name read the file or directory."""
        if self._process is None:
            environment = os.environ | {"PYTHONPATH": f"{TESTS}:{TESTS.parent}", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
            command = [sys.executable, "-c", self._program]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=self._folder.name,
                env=environment,
            )
        process = self._process
        guard = threading.Timer(WAITING, process.kill)
        guard.start()
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps([reader, str(path)]) + "\n")
                process.stdin.flush()
            line = process.stdout.readline()
        finally:
            guard.cancel()
        if line:
            fields = json.loads(line)
            return Outcome(**(fields | {"codes": tuple(fields["codes"])}))
        words = process.stderr.read()[-2000:]
        code = process.wait()
        self._end()
        return Outcome("hang" if code in (-signal.SIGPROF, -signal.SIGKILL) else "crash", words=f"ended with {code}: {words}")

    @property
    def written(self) -> list[str]:
        """Names of what reading left in the directory it runs in."""
        return sorted(entry.name for entry in Path(self._folder.name).iterdir())

    def __enter__(self) -> Self:
        """Nothing is started before it is needed."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process and remove the directory it ran in."""
        self._end()
        self._folder.cleanup()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def outcome(reader: str, path: str | Path) -> Outcome:
    """Read a file in this process."""
    from fuzz.readers import READERS

    from ds2ta_deploy.errors import Ds2taError

    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            payload = READERS[reader].read(Path(path))
    except Ds2taError as error:
        return Outcome("refused", tuple(dict.fromkeys(problem.code for problem in error.problems)), words=str(error)[:10_000])
    except ViolationError as error:
        return Outcome("violated", words=str(error))
    except Exception as error:  # noqa: BLE001 - this is what the test looks for
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        place = "" if frame is None else f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}"
        return Outcome("untyped", words=f"{type(error).__name__}: {error} ({place})"[:10_000])
    return Outcome("accepted", payload=payload)


def serve() -> None:
    """Answer requests until there are none."""
    from fuzz.readers import READERS

    for reader in READERS.values():
        reader.prepare()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, COMPUTING)
        found = outcome(*json.loads(line))
        signal.setitimer(signal.ITIMER_PROF, 0)
        answer: dict[str, Any] = vars(found) | {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
