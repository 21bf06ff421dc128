"""Shards on dask.distributed; nothing here is imported unless a scheduler is named."""

import importlib.util
import itertools
import logging
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ds2ta_deploy.datasets import Labelled
from ds2ta_deploy.errors import MissingRuntimeError, Problem, RuntimeFailedError
from ds2ta_deploy.parity import Progress
from ds2ta_deploy.sharding.job import Bundle, Job, Opened, Result, versions
from ds2ta_deploy.sharding.shards import Shard

#: Name of a scheduler that is started here, with workers of its own.
LOCAL = "local"

#: Seconds in which a scheduler must answer, and have a worker.
_PATIENCE, _PATIENCE_FOR_WORKERS = 10, 60

#: Shards a worker's thread has before it: one that runs, one that is there when it is done.
_AHEAD = 2


class Cluster:
    """Runs shards on the workers of a dask scheduler, as they become free. Use it as a context.

    A worker that dies loses the shard it runs, which another one does again; a shard's result is taken once.

    Example:
        >>> with Cluster("tcp://10.0.0.5:8786") as cluster:  # doctest: +SKIP
        ...     results = run_shards(job, data, job.open(), executor=cluster)

    """

    def __init__(self, address: str, workers: int | None = None) -> None:
        """Take the scheduler's address, or ``local`` and how many processes to start; nothing is started yet.

        Raises:
            MissingRuntimeError: DS2TA-410 with the installing command when dask.distributed is not installed.

        """
        if any(importlib.util.find_spec(module) is None for module in ("dask", "distributed")):
            what = "running on a scheduler needs dask and distributed"
            raise MissingRuntimeError(Problem("DS2TA-410", what, mend="pip install 'ds2ta-deploy[cluster]'"))
        self._address, self._workers = address, workers
        self._stack = ExitStack()
        self.client: Any = None

    def __enter__(self) -> "Cluster":
        """Connect.

        Raises:
            RuntimeFailedError: DS2TA-610 when no scheduler answers, or the one here does not start.

        """
        from distributed import Client

        with ExitStack() as stack:
            target: Any = self._address
            if target == LOCAL:
                target = stack.enter_context(self._local())
            try:
                self.client = stack.enter_context(Client(target, timeout=_PATIENCE))
            except (OSError, ValueError) as error:
                advice = f"start one with `dask scheduler`, or give --scheduler {LOCAL}"
                raise RuntimeFailedError(Problem("DS2TA-610", "no scheduler answers", self._address, advice)) from error
            self._stack = stack.pop_all()
        return self

    def _local(self) -> Any:
        """Start a scheduler and its workers here."""
        from distributed import LocalCluster

        try:
            return LocalCluster(
                n_workers=self._workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL
            )
        except (AssertionError, OSError, RuntimeError) as error:  # it asserts that a thread has begun within ten seconds
            raise RuntimeFailedError(Problem("DS2TA-610", "the local scheduler did not start", self._address, "try it again")) from error

    def __exit__(self, *_: object) -> None:
        """Disconnect, and end what was started."""
        self._stack.close()

    def run(self, job: Job[Result], shards: list[Shard], _progress: Progress | None) -> Iterator[tuple[Shard, Result]]:
        """Yield every shard once with its result, in the order in which they are done.

        Raises:
            RuntimeFailedError: DS2TA-610 when there is no worker, 611 when workers died again and again, 612 when one has other versions.
            Ds2taError: whatever a shard raised.

        """
        from distributed import KilledWorker, as_completed

        try:
            self.client.wait_for_workers(1, timeout=_PATIENCE_FOR_WORKERS)
        except TimeoutError as error:
            advice = "start some with `dask worker ADDRESS`"
            raise RuntimeFailedError(Problem("DS2TA-610", "the scheduler has no worker", self._address, advice)) from error
        bundle = job.bundle()
        key = job.identity(bundle).decode()
        # A task, not scattered data: where every copy died with its worker, the scheduler makes another.
        sent = self.client.submit(_pass_on, bundle, pure=False)
        waiting, running, finished = iter(shards), dict[str, Shard](), as_completed()

        def submit(shard: Shard) -> None:
            future = self.client.submit(run_on_worker, job, key, sent, shard.data, versions(), pure=False)
            running[future.key] = shard
            finished.add(future)

        for shard in itertools.islice(waiting, self._in_flight()):
            submit(shard)
        for future in finished:
            shard = running.pop(future.key)
            try:
                result = future.result()
            except KilledWorker as error:
                last = shard.start + shard.samples - 1
                what = f"the workers died again and again; samples {shard.start} to {last} were among what they had to run"
                advice = "see the workers' logs; too little memory is the usual reason"
                raise RuntimeFailedError(Problem("DS2TA-611", what, self._address, advice)) from error
            future.release()
            following = next(waiting, None)
            if following is not None:
                submit(following)
            yield shard, result

    def _in_flight(self) -> int:
        """How many shards may be under way at once."""
        threads: dict[str, int] = self.client.nthreads()
        return _AHEAD * max(1, sum(threads.values()))


def _pass_on(bundle: Bundle) -> Bundle:
    """Be on a worker."""
    return bundle


_LOCK = threading.Lock()

#: The job that was run last in this process, opened, and the directory of its files.
_opened: tuple[str, Opened[Any], tempfile.TemporaryDirectory[str]] | None = None


def run_on_worker(job: Job[Result], key: str, bundle: Bundle, data: Labelled, asked: dict[str, str]) -> Result:
    """Run one shard in a worker; the files are unpacked and opened when a job is new.

    Raises:
        RuntimeFailedError: DS2TA-612 when the versions here are not those of who asks.

    """
    global _opened  # noqa: PLW0603 - a worker is a process: what it holds between two shards it holds here
    if versions() != asked:
        different = sorted(name for name in {*asked, *versions()} if asked.get(name) != versions().get(name))
        said = ", ".join(f"{name} {versions().get(name, 'missing')}, not {asked.get(name, 'missing')}" for name in different)
        raise RuntimeFailedError(Problem("DS2TA-612", f"a worker has other versions: {said}", mend="install the same everywhere"))
    with _LOCK:  # engines are not made for two threads at once
        if _opened is None or _opened[0] != key:
            directory = tempfile.TemporaryDirectory(prefix="ds2ta-")
            bundle.unpack(Path(directory.name))
            _opened = (key, job.moved(Path(directory.name)).open(), directory)
        opened: Opened[Result] = _opened[1]
        return opened.run(data, None)
