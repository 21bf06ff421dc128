import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("distributed", reason="needs dask: pip install 'ds2ta-deploy[cluster]'")
sys.path.insert(0, str(Path(__file__).parent))

from shard_jobs import SumJob

from ds2ta_deploy.datasets import Labelled
from ds2ta_deploy.errors import InputError, MissingRuntimeError, RuntimeFailedError
from ds2ta_deploy.sharding import cluster as cluster_module
from ds2ta_deploy.sharding.cluster import Cluster, run_on_worker
from ds2ta_deploy.sharding.job import versions
from ds2ta_deploy.sharding.shards import cut, run_shards

#: What is running a cluster leaves behind for Python's garbage collector to complain about; nothing of it is ours.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning:distributed")


@pytest.fixture(scope="module")
def two_workers():
    with Cluster("local", 2) as cluster:
        cluster.client.wait_for_workers(2)
        yield cluster


@pytest.fixture
def job(tmp_path):
    (tmp_path / "seen").mkdir()
    (tmp_path / "file").write_text("hello")
    return SumJob(tmp_path / "file", None, tmp_path / "seen")


def pictures(*firsts):
    """Return shards of three pictures, the first pixel of each given."""
    images = np.arange(3 * len(firsts), dtype=np.uint8)
    images[::3] = firsts
    return Labelled(images[:, None, None, None], None)


def test_the_same_as_in_one_process(job, two_workers):
    data = Labelled(np.arange(50, dtype=np.uint8)[:, None, None, None], np.arange(50))
    here = run_shards(job, data, job.open())
    told = []
    there = run_shards(job, data, job.open(), executor=two_workers, progress=told.append)
    assert [(shard.index, result) for shard, result in there] == [(shard.index, result) for shard, result in here]
    assert sum(result.total for _, result in there) == 50 * 49 // 2
    assert len(told) == 17
    assert told[-1] == 50


def test_a_worker_that_is_killed_in_the_middle_loses_nothing_and_nothing_counts_twice(job, two_workers):
    before = two_workers.client.run(os.getpid)
    killed = []

    def kill():
        while not (waiting := list(job.seen.glob("255-*"))):
            threading.Event().wait(0.05)
        killed.append(int(waiting[0].name.split("-")[1]))
        os.kill(killed[0], signal.SIGKILL)
        (job.seen / "killed").touch()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    data = pictures(1, 4, 7, 255, 10, 13, 16, 19, 22)
    found = run_shards(job, data, job.open(), executor=two_workers)
    killer.join(60)
    assert [result.total for _, result in found] == [int(shard.data.images.sum()) for shard in cut(data, 0, 3)]
    assert [shard.index for shard, _ in found] == list(range(9))
    starts = [name.name for name in job.seen.glob("255-*")]
    assert len(starts) == 2  # once in the worker that was killed, once in another
    assert len({name.split("-")[1] for name in starts}) == 2
    assert killed[0] in before.values()


def test_what_a_shard_raises_is_raised_here(job, two_workers):
    with pytest.raises(InputError) as caught:
        run_shards(job, pictures(1, 253, 4), job.open(), executor=two_workers)
    assert [(problem.code, problem.where) for problem in caught.value.problems] == [("DS2TA-998", "somewhere"), ("DS2TA-999", "")]


def test_an_interrupted_run_goes_on_on_a_cluster(job, two_workers, tmp_path):
    kept = tmp_path / "kept"
    run_shards(job, pictures(1, 4), job.open(), kept=kept)
    found = run_shards(job, pictures(1, 4, 7), job.open(), executor=two_workers, kept=kept)
    assert [result.total for _, result in found] == [1 + 1 + 2, 4 + 4 + 5, 7 + 7 + 8]
    assert sorted(name.name.split("-")[0] for name in job.seen.iterdir()) == ["1", "4", "7"]


@pytest.mark.slow
def test_samples_that_kill_every_worker_are_named(job):
    with Cluster("local", 1) as cluster, pytest.raises(RuntimeFailedError, match=r"DS2TA-611.*died again and again"):
        run_shards(job, pictures(1, 254), job.open(), executor=cluster)


def test_a_worker_with_other_versions_is_refused(job):
    (shard,) = cut(pictures(1), 0, 3)
    with pytest.raises(RuntimeFailedError, match=r"DS2TA-612.*numpy .*, not 0"):
        run_on_worker(job, "key", job.bundle(), shard.data, versions() | {"numpy": "0"})


def test_a_worker_reads_the_files_it_was_sent_once_a_job(job):
    bundle = job.bundle()
    job.source.unlink()
    (shard,) = cut(pictures(1), 0, 3)
    first = run_on_worker(job, "one", bundle, shard.data, versions())
    opened = cluster_module._opened
    assert run_on_worker(job, "one", bundle, shard.data, versions()) == first
    assert cluster_module._opened is opened
    run_on_worker(job, "two", bundle, shard.data, versions())
    assert cluster_module._opened is not opened
    assert first.said == "hello"
    cluster_module._opened = None


def test_no_scheduler_answers(monkeypatch):
    monkeypatch.setattr(cluster_module, "_PATIENCE", 1)
    with pytest.raises(RuntimeFailedError, match="DS2TA-610"), Cluster("tcp://127.0.0.1:9"):
        pass
    with pytest.raises(RuntimeFailedError, match="DS2TA-610"), Cluster("no address at all"):
        pass


def test_a_scheduler_without_workers(job, monkeypatch):
    monkeypatch.setattr(cluster_module, "_PATIENCE_FOR_WORKERS", 1)
    with Cluster("local", 0) as cluster, pytest.raises(RuntimeFailedError, match=r"DS2TA-610.*no worker"):
        run_shards(job, pictures(1), job.open(), executor=cluster)


def test_without_dask_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(cluster_module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingRuntimeError, match=r"DS2TA-410.*pip install 'ds2ta-deploy\[cluster\]'"):
        Cluster("local")


@pytest.mark.parametrize("error", [AssertionError(), TimeoutError("no nanny"), RuntimeError("Failed")])
def test_a_local_scheduler_that_does_not_start(error, monkeypatch):
    def fail(**_: object):
        raise error

    monkeypatch.setattr("distributed.LocalCluster", fail)
    with pytest.raises(RuntimeFailedError, match=r"DS2TA-610.*the local scheduler did not start"), Cluster("local", 1):
        pass
