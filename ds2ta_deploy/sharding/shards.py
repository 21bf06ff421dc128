"""Samples cut into shards; finished shards kept on the disk, each under the hash of all it depends on."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol

import msgspec
import numpy as np

from ds2ta_deploy.artifact import encode_json
from ds2ta_deploy.datasets import Labelled
from ds2ta_deploy.errors import Problem, UsageError
from ds2ta_deploy.parity import Progress
from ds2ta_deploy.reading import read_regular
from ds2ta_deploy.sharding.job import Job, Opened, Result
from ds2ta_deploy.staging import whole_file


@dataclass(frozen=True)
class Shard:
    """Some samples in a row.

    Attributes:
        index: number of the shard.
        start: number of its first sample.
        samples: how many it has.
        data: inputs and labels.

    """

    index: int
    start: int
    samples: int
    data: Labelled


def cut(data: Labelled, batch_axis: int, size: int | None) -> list[Shard]:
    """Cut samples into shards of ``size``, the last one what is left, or into one; the arrays are views."""
    axis = batch_axis if data.images.ndim > batch_axis else 0
    total = data.images.shape[axis]
    size = max(total, 1) if size is None else size
    shards = []
    for index, start in enumerate(range(0, total, size)):
        rows = slice(start, min(start + size, total))
        images = data.images[(slice(None),) * axis + (rows,)]
        labels = None if data.labels is None else data.labels[rows]
        shards.append(Shard(index, start, rows.stop - start, Labelled(images, labels)))
    return shards


def shard_key(identity: bytes, shard: Shard) -> str:
    """Return the hash of all that a shard's result depends on: settings, files, versions, samples, labels."""
    digest = hashlib.sha256(identity)
    for array in (shard.data.images, shard.data.labels):
        if array is None:
            digest.update(b"none")
            continue
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


class Kept(Generic[Result]):
    """Results of finished shards in a directory, one file each; a file that is not whole and right is as good as none."""

    def __init__(self, directory: Path, kind: type[Result]) -> None:
        """Take the directory, which is made if it is not there, and the type of a result.

        Raises:
            UsageError: DS2TA-502 when it cannot be made.

        """
        self._directory, self._kind = directory, kind
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(Problem("DS2TA-502", f"cannot be made: {error.strerror}", str(directory))) from error

    def load(self, key: str) -> Result | None:
        """Return the result of a shard; None when there is none that is whole and of this very shard."""
        try:
            record = msgspec.json.decode(read_regular(self._directory / f"{key}.json"), type=dict[str, Any])
            if record != self._record(key, record["result"]):
                return None
            return msgspec.convert(record["result"], self._kind)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, KeyError, RecursionError):
            return None

    def save(self, key: str, result: Result) -> None:
        """Write a result whole or not at all.

        Raises:
            UsageError: DS2TA-502 when it cannot be written.

        """
        with whole_file(self._directory / f"{key}.json") as file:
            file.write(encode_json(self._record(key, msgspec.to_builtins(result))))

    def _record(self, key: str, result: Any) -> dict[str, Any]:
        seal = hashlib.sha256(key.encode() + encode_json(result)).hexdigest()
        return {"schema": "ds2ta-shard/1", "key": key, "result": result, "seal": seal}


class Executor(Protocol):
    """Runs shards somewhere."""

    def run(self, job: Job[Result], shards: list[Shard], progress: Progress | None) -> Iterator[tuple[Shard, Result]]:
        """Yield every shard once with its result, in any order."""
        ...


class InProcess:
    """Runs one shard after the other in this process."""

    def __init__(self, opened: Opened[Any]) -> None:
        """Take the job, opened."""
        self._opened = opened

    def run(self, job: Job[Result], shards: list[Shard], progress: Progress | None) -> Iterator[tuple[Shard, Result]]:
        """Yield every shard once with its result, in order."""
        _ = job
        for shard in shards:
            yield shard, self._opened.run(shard.data, _from(shard.start, progress))


def _from(start: int, progress: Progress | None) -> Callable[[int], None] | None:
    return None if progress is None else lambda done: progress(start + done)


def run_shards(
    job: Job[Result],
    data: Labelled,
    opened: Opened[Result],
    *,
    executor: Executor | None = None,
    kept: Path | None = None,
    progress: Progress | None = None,
) -> list[tuple[Shard, Result]]:
    """Run a job on all samples and return the shards with their results, in order: the same, wherever they were run.

    Args:
        job: what is to be done.
        data: all samples.
        opened: the job, opened here.
        executor: who runs the shards; this process by default.
        kept: directory for the results of finished shards, which are not run again.
        progress: told the number of samples done.

    Raises:
        UsageError: DS2TA-502 when the directory cannot be written; whatever the job raises.

    """
    shards = cut(data, opened.batch_axis, job.shard_samples if job.splits else None)
    store, keys = (None, []) if kept is None else _open_store(job, shards, kept)
    results = {} if store is None else {shard.index: found for shard in shards if (found := store.load(keys[shard.index])) is not None}
    missing = [shard for shard in shards if shard.index not in results]
    done = sum(shard.samples for shard in shards) - sum(shard.samples for shard in missing)
    for shard, result in (executor or InProcess(opened)).run(job, missing, progress) if missing else ():
        if store is not None:
            store.save(keys[shard.index], result)
        results[shard.index] = result
        done += shard.samples
        if progress is not None:
            progress(done)
    return [(shard, results[shard.index]) for shard in shards]


def _open_store(job: Job[Result], shards: list[Shard], directory: Path) -> tuple[Kept[Result], list[str]]:
    identity = job.identity(job.bundle())
    return Kept(directory, job.result), [shard_key(identity, shard) for shard in shards]
