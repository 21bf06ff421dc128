"""Executes the blocks of a page in one folder, as a reader would who types them, and compares what the page says is printed."""

import difflib
import importlib.metadata
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import tomllib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from block_marks import ROOT, Block

from ds2ta_deploy.runtimes.table import RUNTIMES

#: How a block is executed; its text comes on standard input.
PROGRAMS = {"sh": ["bash", "-euo", "pipefail", "-s"], "console": ["bash", "-euo", "pipefail", "-s"], "python": [sys.executable, "-"]}

#: Seconds after which what a block started has hung.
HUNG = 900

#: Programs of the world around a page: what a camera's driver writes, and what opens a page for a reader.
STAND_INS = {"camera": "exec cat recording.dat\n", "xdg-open": 'test -s "$1"\n'}

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[(?P<extras>[a-z,]+)\])?")


def extras() -> dict[str, list[str]]:
    """Return what pyproject.toml asks for in each extra."""
    parsed: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    return parsed


def missing(need: str) -> str:
    """Return what is not installed of a runtime or an extra, with the command that helps; empty where all is there.

    Raises:
        KeyError: when there is neither a runtime nor an extra of this name.

    """
    if need in RUNTIMES:
        return "" if RUNTIMES[need].available else f"needs the runtime {need}: {RUNTIMES[need].install}"
    for requirement in extras()[need]:
        name, inner = _REQUIREMENT.match(requirement).group("name", "extras")
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return f"needs {name}: pip install 'ds2ta-deploy[{need}]'"
        if found := next(filter(None, map(missing, inner.split(",") if inner else ())), ""):
            return found
    return ""


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


def differences(expected: str, found: str) -> str:
    """Return how a print differs from what a page shows of it; empty where it does not.

    A line ``…`` of the page stands for any lines, and at the end of a line for its rest. Blank lines before and behind, and
    blanks at the end of a line, are of no account.
    """
    shown, printed = ([line.rstrip() for line in text.strip("\n").splitlines()] for text in (expected, found))
    pattern = ""
    for line in shown:
        cut = line.endswith("…")
        pattern += "(?:.*\n)*?" if line == "…" else f"{re.escape(line.removesuffix('…'))}{'.*' if cut else ''}\n"
    if re.fullmatch(pattern, "".join(f"{line}\n" for line in printed)):
        return ""
    return "\n".join(difflib.unified_diff(shown, printed, "the page", "what was printed", lineterm="", n=2))


@dataclass
class PageRun:
    """The blocks of a page, executed one after the other.

    Attributes:
        folder: where they are executed.
        printed: what the last one printed, on both streams.

    """

    folder: Path
    printed: str = ""
    environment: dict[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Put this environment's programs first, and the stand-ins."""
        programs = self.folder.with_name(f"{self.folder.name}-programs")
        programs.mkdir()
        for name, text in STAND_INS.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}")
            (programs / name).chmod(0o755)
        path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = os.environ | {"PATH": path, "PORT": str(free_port()), "COLUMNS": "80"}

    def execute(self, language: str, text: str) -> tuple[int, str]:
        """Return the exit code and all that was printed; whatever was started and still runs is ended."""
        with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
            process = subprocess.Popen(
                PROGRAMS[language],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self.environment,
                text=True,
                start_new_session=True,
            )
            try:
                process.communicate(text, timeout=HUNG)
            finally:
                with suppress(ProcessLookupError):  # nothing was left running
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            said.seek(0)
            return process.returncode, said.read()

    def take(self, block: Block) -> None:
        """Execute a block, or compare it with what was printed, as its mark says.

        Raises:
            AssertionError: when a command fails, a traceback is shown, or something else is printed than the page says.

        """
        match block.kind:
            case "run":
                self._succeed(block.language, block.executed)
            case "prints":
                if block.rest:
                    self._succeed("sh", block.rest)
                self._compare(block, block.text, self.printed)
            case "session":
                for command, expected in exchanges(block.executed):
                    code, printed = self.execute("sh", command)
                    assert "Traceback" not in printed, f"{command}\n{printed}"
                    assert (code == 0) != bool(re.search("^error ", printed, re.MULTILINE)), f"{command}: exit code {code}\n{printed}"
                    self._compare(block, expected, printed)

    def _succeed(self, language: str, text: str) -> None:
        code, self.printed = self.execute(language, text)
        assert code == 0, f"{text}\n{self.printed}"
        assert "Traceback" not in self.printed, self.printed

    @staticmethod
    def _compare(block: Block, expected: str, printed: str) -> None:
        found = differences(expected, printed)
        assert not found, f"{block.page}:{block.line} is not what is printed\n{found}"


def exchanges(session: str) -> list[tuple[str, str]]:
    """Return the commands of a session, and the lines below each."""
    parts = re.split(r"^\$ (.*)\n", session, flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))
