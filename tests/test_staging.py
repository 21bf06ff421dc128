import errno
import hashlib
import json
import os
from pathlib import Path

import pytest
from support import files_of, names_in, read_manifest, some_manifest

from ds2ta_deploy import staging as staging_module
from ds2ta_deploy.artifact import (
    GOLDEN_HASHES,
    GOLDEN_INPUTS,
    GRAPH,
    MANIFEST,
    MODEL,
    Artifact,
    encode_json,
)
from ds2ta_deploy.errors import InputError, UsageError
from ds2ta_deploy.staging import failed_path, stage

FILES = {GRAPH: b"a graph", MODEL: b"a model", GOLDEN_INPUTS: b"inputs", GOLDEN_HASHES: b'{"head.logits": "00"}', "empty.bin": b""}


def write(out, files=FILES, *, failed=False, **manifest):
    """Write an artifact."""
    with stage(out) as staging:
        staging.write(files)
        return staging.commit(some_manifest(**manifest), failed=failed)


@pytest.fixture
def written(tmp_path):
    """Return the directory of an artifact."""
    return write(tmp_path / "out").path


# --- written whole ---------------------------------------------------------------------------------------------------


def test_what_is_written_can_be_opened_and_read(tmp_path):
    made = write(tmp_path / "out", target="onnx", inline=True, config={"depth": 2})
    opened = Artifact.open(tmp_path / "out")
    assert opened.manifest == made.manifest
    assert opened.modified == ()
    assert {name: opened.read(name) for name in FILES} == FILES
    assert files_of(tmp_path / "out").keys() == {MANIFEST, *FILES}
    assert names_in(tmp_path) == ["out"]


def test_a_path_may_be_a_string(written):
    assert Artifact.open(str(written)).manifest == Artifact.open(written).manifest


def test_the_manifest_holds_hash_and_size_of_every_file_in_order(written):
    manifest = read_manifest(written)
    assert manifest["schema"] == "ds2ta-artifact/2"
    assert manifest["files"] == {name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in FILES.items()}
    assert list(manifest["files"]) == sorted(FILES)


def test_the_manifest_is_for_people_too_and_ends_in_a_line_feed(written):
    text = (written / MANIFEST).read_text()
    assert text.endswith("}\n")
    assert len(text.splitlines()) > 20
    assert text == encode_json(json.loads(text)).decode()


def test_the_same_files_give_the_same_manifest_in_whatever_order_they_come(tmp_path):
    write(tmp_path / "one")
    write(tmp_path / "two", dict(reversed(FILES.items())))
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_files_can_be_staged_piece_by_piece(tmp_path):
    with stage(tmp_path / "out") as staging:
        staging.write({GRAPH: b"first"})
        assert staging.artifact(some_manifest()).read(GRAPH) == b"first"
        assert not (tmp_path / "out").exists()
        staging.write({MODEL: b"second"})
        staging.commit(some_manifest())
    assert sorted(read_manifest(tmp_path / "out")["files"]) == [GRAPH, MODEL]


def test_missing_parents_are_made(tmp_path):
    assert write(tmp_path / "a" / "b" / "out").path == tmp_path / "a" / "b" / "out"


def test_others_may_read_an_artifact_although_temporary_directories_are_private(written):
    assert written.stat().st_mode & 0o777 == 0o755


def test_a_relative_output_is_found_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path("out"))
    write(Path("./sub/../out2/"))
    assert names_in(tmp_path) == ["out", "out2"]


# --- or not at all ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError, InputError])
def test_whatever_goes_wrong_inside_leaves_nothing(tmp_path, error):
    problem = error(staging_module.Problem("DS2TA-101", "bad")) if error is InputError else error()
    with pytest.raises(error), stage(tmp_path / "out") as staging:  # noqa: PT012
        staging.write(FILES)
        raise problem
    assert names_in(tmp_path) == []


def test_staging_without_committing_leaves_nothing(tmp_path):
    with stage(tmp_path / "out") as staging:
        staging.write(FILES)
        assert len(names_in(tmp_path)) == 1
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("failing", [GRAPH, "vectors", MANIFEST])
def test_a_full_disk_is_one_error_and_leaves_nothing(tmp_path, monkeypatch, failing):
    honest = Path.write_bytes

    def write_bytes(self, data):
        if failing in str(self):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return honest(self, data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(UsageError, match=r"DS2TA-502 .*No space left on device") as caught:
        write(tmp_path / "out")
    assert caught.value.exit_code == 2
    assert names_in(tmp_path) == []


def test_a_disk_that_is_full_before_anything_is_written(tmp_path, monkeypatch):
    def mkdtemp(**_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(staging_module.tempfile, "mkdtemp", mkdtemp)
    with pytest.raises(UsageError, match="DS2TA-502"):
        write(tmp_path / "out")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("kind", ["directory", "empty directory", "file", "link", "dangling link", "link to a directory"])
def test_an_output_that_exists_is_left_alone(tmp_path, kind):
    out = tmp_path / "out"
    match kind:
        case "directory":
            out.mkdir()
            (out / "precious").write_text("data")
        case "empty directory":
            out.mkdir()
        case "file":
            out.write_text("data")
        case "link":
            (tmp_path / "elsewhere").write_text("data")
            out.symlink_to(tmp_path / "elsewhere")
        case "dangling link":
            out.symlink_to(tmp_path / "nowhere")
        case _:
            (tmp_path / "elsewhere").mkdir()
            out.symlink_to(tmp_path / "elsewhere")
    before = sorted(str(path) for path in tmp_path.rglob("*")), files_of(tmp_path), out.is_symlink()
    with pytest.raises(UsageError, match=r"DS2TA-501 \[.*out\]: the output exists already"):
        write(out)
    assert (sorted(str(path) for path in tmp_path.rglob("*")), files_of(tmp_path), out.is_symlink()) == before


def test_an_output_that_comes_into_being_meanwhile_is_left_alone(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="DS2TA-50[12]"), stage(out) as staging:  # noqa: PT012, RUF043
        staging.write(FILES)
        out.mkdir()
        (out / "precious").write_text("data")
        staging.commit(some_manifest())
    assert files_of(tmp_path) == {"out/precious": b"data"}


@pytest.mark.parametrize("name", ["file/out", "file/deeper/out", "x" * 300])
def test_an_output_that_cannot_be_written(tmp_path, name):
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(UsageError, match="DS2TA-502"):
        write(tmp_path / name)
    assert files_of(tmp_path) == {"file": b"no directory"}


# --- a failed export -------------------------------------------------------------------------------------------------


def test_what_failed_is_left_beside_under_another_name(tmp_path):
    made = write(tmp_path / "out", failed=True)
    assert made.path == tmp_path / "out.failed"
    assert names_in(tmp_path) == ["out.failed"]
    assert Artifact.open(tmp_path / "out.failed").manifest == made.manifest


def test_an_earlier_failure_is_replaced(tmp_path):
    write(tmp_path / "out", failed=True)
    write(tmp_path / "out", {GRAPH: b"newer"}, failed=True)
    assert names_in(tmp_path) == ["out.failed"]
    assert Artifact.open(tmp_path / "out.failed").read(GRAPH) == b"newer"
    assert not (tmp_path / "out.failed" / MODEL).exists()


@pytest.mark.parametrize(
    "content", [{"precious": b"data"}, {MANIFEST: b'{"name": "a web app", "icons": []}'}, {MANIFEST: b""}, {MANIFEST: b'{"files": {}}'}]
)
def test_what_is_no_artifact_of_ours_is_never_replaced(tmp_path, content):
    other = tmp_path / "out.failed"
    other.mkdir()
    for name, data in content.items():
        (other / name).write_bytes(data)
    made = write(tmp_path / "out", failed=True)
    assert files_of(other) == content
    assert made.path != other
    assert made.path.name.startswith("out.failed")
    assert Artifact.open(made.path).read(GRAPH) == FILES[GRAPH]


def test_a_link_to_an_artifact_is_not_followed_to_replace_it(tmp_path):
    real = write(tmp_path / "real").path
    (tmp_path / "out.failed").symlink_to(real)
    made = write(tmp_path / "out", failed=True)
    assert files_of(real) == files_of(made.path)
    assert (tmp_path / "out.failed").is_symlink()
    assert made.path.name != "out.failed"


def test_the_next_free_name_is_taken(tmp_path):
    (tmp_path / "out.failed").write_text("mine")
    (tmp_path / "out.failed-2").mkdir()
    assert failed_path(tmp_path / "out") == tmp_path / "out.failed-3"
