"""Jobs that workers can import by name; what they do is seen in a directory."""

import os
import signal
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ds2ta_deploy.datasets import Labelled
from ds2ta_deploy.errors import InputError, Problem
from ds2ta_deploy.parity import Progress
from ds2ta_deploy.sharding.job import Job, Opened


@dataclass(frozen=True)
class Sum:
    """The sum of a shard's pixels, and what its file holds."""

    total: int
    said: str


@dataclass(frozen=True)
class SumJob(Job[Sum]):
    """Add up pixels; writes a file into ``seen`` for every start. A pixel of 255 waits to be killed, of 254 kills, 253 raises."""

    kind: ClassVar[str] = "sum"
    shard_samples: ClassVar[int] = 3
    result: ClassVar[type[Sum]] = Sum

    seen: Path = Path()
    factor: int = 1

    def open(self) -> Opened[Sum]:
        """Read the file."""
        said = self.source.read_text()

        def run(data: Labelled, progress: Progress | None) -> Sum:
            first = int(data.images.reshape(-1)[0])
            (self.seen / f"{first}-{os.getpid()}-{uuid.uuid4().hex}").touch()
            if first == 255:
                wait_for(self.seen / "killed", 60)
            if first == 254:
                os.kill(os.getpid(), signal.SIGKILL)
            if first == 253:
                raise InputError([Problem("DS2TA-998", "is wrong", "somewhere"), Problem("DS2TA-999", "is worse")])
            if progress is not None:
                progress(len(data.images))
            return Sum(int(data.images.sum()) * self.factor, said)

        return Opened(run, (None,))


def wait_for(path: Path, seconds: float) -> None:
    """Wait until there is a file; fails when there never is."""
    deadline = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(path)
        time.sleep(0.05)
