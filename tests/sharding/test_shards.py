import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from shard_jobs import Sum, SumJob
from support import names_in

from ds2ta_deploy.datasets import Labelled
from ds2ta_deploy.errors import UsageError
from ds2ta_deploy.sharding.shards import Kept, cut, run_shards, shard_key


def pictures(count, first=0):
    return np.arange(first, first + count, dtype=np.uint8)[:, None, None, None].copy()


@pytest.fixture
def job(tmp_path):
    (tmp_path / "seen").mkdir()
    (tmp_path / "file").write_text("hello")
    return SumJob(tmp_path / "file", None, tmp_path / "seen")


def totals(found):
    return [(shard.start, shard.samples, result.total) for shard, result in found]


@given(st.integers(0, 40), st.integers(1, 12), st.booleans(), st.booleans())
def test_shards_are_the_samples_in_order(count, size, labelled, frames):
    images = np.arange(count * 2, dtype=np.uint8).reshape((2, count, 1, 1, 1) if frames else (count, 2, 1, 1))
    shards = cut(Labelled(images, np.arange(count) if labelled else None), int(frames), size)
    assert [shard.index for shard in shards] == list(range(-(-count // size)))
    assert all(shard.samples == size for shard in shards[:-1])
    if shards:
        assert np.array_equal(np.concatenate([shard.data.images for shard in shards], int(frames)), images)
        starts = [sum(shard.samples for shard in shards[:index]) for index in range(len(shards))]
        assert [shard.start for shard in shards] == starts
        if labelled:
            assert np.concatenate([shard.data.labels for shard in shards]).tolist() == list(range(count))


def test_samples_that_must_stay_together_are_one_shard():
    (shard,) = cut(Labelled(pictures(7), None), 0, None)
    assert (shard.index, shard.start, shard.samples) == (0, 0, 7)


def test_in_this_process(job):
    told = []
    found = run_shards(job, Labelled(pictures(8), None), job.open(), progress=told.append)
    assert totals(found) == [(0, 3, 0 + 1 + 2), (3, 3, 3 + 4 + 5), (6, 2, 6 + 7)]
    assert told == [3, 3, 6, 6, 8, 8]


def test_finished_shards_are_not_run_again(job, tmp_path):
    data = Labelled(pictures(8), None)
    first = run_shards(job, data, job.open(), kept=tmp_path / "kept")
    assert len(names_in(job.seen)) == 3
    assert totals(run_shards(job, data, job.open(), kept=tmp_path / "kept")) == totals(first)
    assert len(names_in(job.seen)) == 3


def test_what_an_interrupted_run_finished_counts(job, tmp_path):
    def stop(done):
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_shards(job, Labelled(pictures(8), None), job.open(), kept=tmp_path / "kept", progress=stop)
    assert len(names_in(tmp_path / "kept")) == 1  # the second shard was not taken yet when it told so
    found = run_shards(job, Labelled(pictures(8), None), job.open(), kept=tmp_path / "kept")
    assert totals(found) == [(0, 3, 3), (3, 3, 12), (6, 2, 13)]
    assert sorted(name.split("-")[0] for name in names_in(job.seen)) == ["0", "3", "3", "6"]


def changes(job, data):
    """Return one change of everything that a result depends on."""
    other = data.images.copy()
    other[0] = 9
    yield "pixels", job, Labelled(other, data.labels)
    yield "labels", job, Labelled(data.images, data.labels + 1)
    yield "no labels", job, Labelled(data.images, None)
    yield "type", job, Labelled(data.images.view(np.int8), data.labels)
    yield "setting", SumJob(job.source, None, job.seen, 2), data
    yield "kind", type("Other", (SumJob,), {"kind": "other"})(job.source, None, job.seen), data
    yield "checkpoint", SumJob(job.source, job.source, job.seen), data


def test_a_shard_is_known_by_everything_that_its_result_depends_on(job, monkeypatch):
    def key(job, data):
        (shard,) = cut(data, 0, 3)
        return shard_key(job.identity(job.bundle()), shard)

    data = Labelled(pictures(3), np.arange(3))
    keys = {"as it is": key(job, data)} | {what: key(*changed) for what, *changed in changes(job, data)}
    job.source.write_text("other")
    keys["file"] = key(job, data)
    job.source.write_text("hello")
    monkeypatch.setattr("ds2ta_deploy.sharding.job.writer_versions", lambda: {"numpy": "0"})
    keys["versions"] = key(job, data)
    monkeypatch.undo()
    assert key(job, data) == keys["as it is"]
    assert len(set(keys.values())) == len(keys), keys


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"total": 3', '"total": 4'),
        lambda text: text.replace("ds2ta-shard/1", "ds2ta-shard/0"),
        lambda text: json.dumps(json.loads(text) | {"more": 1}),
        lambda text: json.dumps(json.loads(text)["result"]),
        lambda _: "[]",
        lambda _: "\0",
    ],
)
def test_a_file_that_is_not_whole_and_right_is_as_good_as_none(job, tmp_path, spoil):
    data = Labelled(pictures(3), None)
    first = run_shards(job, data, job.open(), kept=tmp_path / "kept")
    (file,) = (tmp_path / "kept").iterdir()
    good = file.read_text()
    file.write_text(spoil(good))
    assert file.read_text() != good
    assert totals(run_shards(job, data, job.open(), kept=tmp_path / "kept")) == totals(first)
    assert len(names_in(job.seen)) == 2
    assert file.read_text() == good


def test_a_file_under_the_name_of_another_shard_is_not_taken(tmp_path):
    kept = Kept(tmp_path, Sum)
    kept.save("a" * 64, Sum(1, "x"))
    assert kept.load("a" * 64) == Sum(1, "x")
    (tmp_path / f"{'a' * 64}.json").rename(tmp_path / f"{'b' * 64}.json")
    assert kept.load("b" * 64) is None
    assert kept.load("a" * 64) is None


def test_where_nothing_can_be_kept(job, tmp_path):
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(UsageError, match="DS2TA-502"):
        run_shards(job, Labelled(pictures(3), None), job.open(), kept=tmp_path / "file" / "kept")
