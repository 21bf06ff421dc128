import dataclasses
import errno
import hashlib
import json
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest
from support import copy_artifact, files_of, frozen, names_in, read_manifest, replaced, rewrite, some_manifest, write_manifest

from ds2ta_deploy import artifact as artifact_module
from ds2ta_deploy.artifact import (
    GOLDEN_HASHES,
    GOLDEN_INPUTS,
    GRAPH,
    MANIFEST,
    MODEL,
    Artifact,
    FileEntry,
    Manifest,
    encode_json,
    failed_path,
    stage,
    writer_versions,
)
from ds2ta_deploy.errors import InputError, UnsupportedError, UsageError
from ds2ta_deploy.graph import ops, serialize

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


def problems_of(path, **options):
    """Return what is wrong with an artifact, as (code, place below it)."""
    with pytest.raises(InputError) as caught:
        Artifact.open(path, **options)
    return [(problem.code, os.path.relpath(problem.where, path)) for problem in caught.value.problems]


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
    assert manifest["schema"] == "ds2ta-artifact/1"
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
    problem = error(artifact_module.Problem("DS2TA-101", "bad")) if error is InputError else error()
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

    monkeypatch.setattr(artifact_module.tempfile, "mkdtemp", mkdtemp)
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


# --- every byte counts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("how", ["flipped", "longer", "truncated", "emptied", "swapped"])
def test_every_change_of_every_file_is_noticed(written, name, how):
    data = FILES[name]
    changed = {
        "flipped": bytes([data[0] ^ 1]) + data[1:] if data else b"x",
        "longer": data + b"\0",
        "truncated": data[:-1] if data else b" ",
        "emptied": b"" if data else b"\n",
        "swapped": FILES[MODEL] if name != MODEL else FILES[GRAPH],
    }[how]
    rewrite(written, name, changed)
    assert problems_of(written) == [("DS2TA-153", name)]
    assert Artifact.open(written, allow_modified=True).modified == (name,)


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("instead", [None, "directory", "link", "dangling link"])
def test_a_file_that_is_missing_or_no_file_is_noticed_even_when_changes_are_allowed(tmp_path, written, name, instead):
    (tmp_path / "same").write_bytes(FILES[name])
    (written / name).unlink()
    match instead:
        case "directory":
            (written / name).mkdir()
        case "link":
            (written / name).symlink_to(tmp_path / "same")
        case "dangling link":
            (written / name).symlink_to(tmp_path / "nowhere")
    assert problems_of(written) == [("DS2TA-152", name)]
    assert problems_of(written, allow_modified=True) == [("DS2TA-152", name)]


def test_a_directory_of_the_artifact_may_not_be_a_link_out_of_it(tmp_path, written):
    (written / "vectors").rename(tmp_path / "elsewhere")
    (written / "vectors").symlink_to(tmp_path / "elsewhere")
    assert sorted(problems_of(written)) == [("DS2TA-152", GOLDEN_HASHES), ("DS2TA-152", GOLDEN_INPUTS)]


def test_an_artifact_reached_through_a_link_is_fine(tmp_path, written):
    (tmp_path / "link").symlink_to(written)
    assert Artifact.open(tmp_path / "link").read(GRAPH) == FILES[GRAPH]


def test_everything_wrong_is_told_at_once(written):
    rewrite(written, GRAPH, b"other")
    rewrite(written, MODEL, b"other")
    (written / GOLDEN_INPUTS).unlink()
    assert sorted(problems_of(written)) == [("DS2TA-152", GOLDEN_INPUTS), ("DS2TA-153", GRAPH), ("DS2TA-153", MODEL)]


def test_a_wrong_size_is_a_change_even_with_the_right_hash(written):
    manifest = read_manifest(written)
    manifest["files"][GRAPH]["size"] += 1
    write_manifest(written, manifest)
    assert problems_of(written) == [("DS2TA-153", GRAPH)]


def test_files_beside_those_listed_do_not_matter(written):
    (written / "notes.txt").write_text("mine")
    assert Artifact.open(written).modified == ()


# --- paths -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["../secret", "vectors/../../secret", "/etc/passwd", "..", "", "vectors\\..\\secret", "a/../model.onnx", "C:\\secret", "nul\0byte"],
)
def test_a_path_out_of_the_artifact_is_refused_whatever_lies_there(tmp_path, written, name):
    (tmp_path / "secret").write_text("secret")
    manifest = read_manifest(written)
    manifest["files"][name] = msgspec.to_builtins(FileEntry.of(b"secret"))
    write_manifest(written, manifest)
    for allow in (False, True):
        with pytest.raises(InputError) as caught:
            Artifact.open(written, allow_modified=allow)
        assert [problem.code for problem in caught.value.problems] == ["DS2TA-155"]


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000 + "b", "vectors", ".", "model.onnx/inside"])
def test_a_path_that_is_no_file_is_missing(written, name):
    manifest = read_manifest(written)
    manifest["files"][name] = msgspec.to_builtins(FileEntry.of(b""))
    write_manifest(written, manifest)
    with pytest.raises(InputError) as caught:
        Artifact.open(written)
    assert [problem.code for problem in caught.value.problems] == ["DS2TA-152"]


def test_names_with_terminal_escapes_are_not_shown_raw(written):
    manifest = read_manifest(written)
    manifest["files"]["../\x1b[31mred"] = msgspec.to_builtins(FileEntry.of(b""))
    write_manifest(written, manifest)
    with pytest.raises(InputError) as caught:
        Artifact.open(written)
    assert "\x1b" not in str(caught.value)


# --- no manifest, or a bad one ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["nothing", "empty directory", "file", "manifest is a directory", "name too long"])
def test_what_is_no_artifact_is_refused(tmp_path, kind):
    path = tmp_path / ("x" * 300 if kind == "name too long" else "out")
    match kind:
        case "empty directory":
            path.mkdir()
        case "file":
            path.write_text("text")
        case "manifest is a directory":
            (path / MANIFEST).mkdir(parents=True)
    with pytest.raises(InputError, match="DS2TA-150"):
        Artifact.open(path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not json",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b"\xff\xfe",
        b'{"schema": "ds2ta-artifact/1"}',
        b"[" * 100_000,
        b'{"schema": ' + b"[" * 100_000,
    ],
    ids=lambda data: repr(data[:12]),
)
def test_a_manifest_that_is_none_is_refused(written, data):
    (written / MANIFEST).write_bytes(data)
    with pytest.raises(InputError, match=r"DS2TA-151 \[.*manifest\.json\]") as caught:
        Artifact.open(written)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema", "ds2ta-artifact/2"),
        ("schema", 1),
        ("target", None),
        ("files", []),
        ("files", {"a": "00"}),
        ("files", {"a": {"sha256": "00"}}),
        ("files", {"a": {"sha256": "00", "size": 1.5}}),
        ("files", {"a": {"sha256": 0, "size": 1}}),
        ("files", {"a": {"sha256": "00", "size": 1, "mode": 511}}),
        ("parity", [{"runtime": "torch"}]),
        ("versions", {"numpy": 2}),
        ("unknown", 1),
    ],
)
def test_a_manifest_with_a_wrong_field_is_refused(written, field, value):
    write_manifest(written, read_manifest(written) | {field: value})
    with pytest.raises(InputError, match="DS2TA-151"):
        Artifact.open(written)


def test_a_manifest_without_a_field_that_it_needs_is_refused(written):
    for field in ("target", "versions", "config", "quantization", "rounding", "files"):
        manifest = read_manifest(written)
        del manifest[field]
        changed = copy_artifact(written, written.with_name(f"without-{field}"))
        write_manifest(changed, manifest)
        with pytest.raises(InputError, match=f"DS2TA-151 .*{field}"):
            Artifact.open(changed)


def test_a_huge_manifest_is_not_read(written):
    with (written / MANIFEST).open("ab") as file:
        file.truncate(16 * 2**20 + 1)  # sparse: costs no disk
    with pytest.raises(InputError, match=r"DS2TA-151 .*is larger than"):
        Artifact.open(written)


def test_a_manifest_without_files_opens_and_has_none(written):
    write_manifest(written, read_manifest(written) | {"files": {}})
    opened = Artifact.open(written)
    with pytest.raises(InputError, match=r"DS2TA-152 .*has no graph\.safetensors"):
        _ = opened.graph


# --- reading ---------------------------------------------------------------------------------------------------------


def test_reading_what_is_not_listed_says_what_it_was_exported_for(written):
    (written / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"DS2TA-152 .*has no notes\.txt .*exported for onnx"):
        Artifact.open(written).read("notes.txt")


def test_reading_what_went_away_is_an_error_of_ours(written):
    opened = Artifact.open(written)
    (written / MODEL).unlink()
    with pytest.raises(InputError, match=r"DS2TA-152 \[.*model\.onnx\]: cannot be read"):
        opened.read(MODEL)


@pytest.mark.parametrize("data", [b"", b"garbage", b"[]", b"{", b'{"head.logits": 5}', b"null", b"[" * 100_000])
def test_json_of_another_kind_is_refused(tmp_path, data):
    made = write(tmp_path / "out", {GOLDEN_HASHES: data})
    with pytest.raises(InputError, match=r"DS2TA-157 \[.*hashes\.json\]: does not hold what it should"):
        made.read_json(GOLDEN_HASHES, dict[str, str])


def test_json_is_read_as_its_type(written):
    assert Artifact.open(written).read_json(GOLDEN_HASHES, dict[str, str]) == {"head.logits": "00"}


def test_the_graph_is_the_one_written(tmp_path, small_graph):
    made = write(tmp_path / "out", {GRAPH: serialize.to_bytes(frozen(small_graph))})
    assert made.graph.types == small_graph.types
    assert made.graph is made.graph
    assert serialize.to_bytes(made.graph) == made.read(GRAPH)


def test_a_graph_that_is_none_is_refused(written):
    with pytest.raises(InputError, match=r"DS2TA-140 \[.*graph\.safetensors\]"):
        _ = Artifact.open(written).graph


def unsafe(graph, how):
    """Return the graph with an index that can leave its table, or a sum that can leave its type."""
    if how == "index":
        (lookup,) = [op for op in graph if isinstance(op, ops.Lookup)]
        return replaced(graph, lookup.name, table=lookup.table[:, :-1])
    return replaced(graph, "patch.stages.0.window", guard_bits=20)


@pytest.mark.parametrize(("how", "code"), [("index", "DS2TA-221"), ("accumulator", "DS2TA-220")])
def test_a_graph_that_is_not_proved_safe_is_never_run(tmp_path, small_graph, how, code):
    made = write(tmp_path / "out", {GRAPH: serialize.to_bytes(frozen(unsafe(small_graph, how)))})
    with pytest.raises(UnsupportedError) as caught:
        _ = Artifact.open(made.path).graph
    assert {problem.code for problem in caught.value.problems} == {code}
    assert caught.value.exit_code == 3


def test_a_graph_of_a_narrower_profile_is_proved_under_it(tmp_path, small_graph):
    # 24 bits are too few once the guard bits are many; 32 are enough
    graph = replaced(frozen(small_graph), "blocks.0.attn.proj.window", guard_bits=15)
    assert Artifact.open(write(tmp_path / "cpu", {GRAPH: serialize.to_bytes(graph)}).path).graph
    narrow = dataclasses.replace(graph, facts={**graph.facts, "profile": "loihi"})
    with pytest.raises(UnsupportedError, match=r"DS2TA-220 .*profile loihi grants 24"):
        _ = write(tmp_path / "loihi", {GRAPH: serialize.to_bytes(narrow)}).graph


# --- versions --------------------------------------------------------------------------------------------------------


def test_the_versions_are_those_of_what_decides_the_bytes():
    versions = writer_versions()
    assert {"ds2ta-deploy", "numpy", "onnx", "safetensors"} <= set(versions) <= {"ds2ta-deploy", "numpy", "onnx", "safetensors", "torch"}
    assert versions["numpy"] == np.__version__


def test_what_is_not_installed_has_no_version(monkeypatch):
    def version(name):
        if name == "torch":
            raise artifact_module.metadata.PackageNotFoundError(name)
        return "1.2.3"

    monkeypatch.setattr(artifact_module.metadata, "version", version)
    assert "torch" not in writer_versions()
    assert writer_versions()["onnx"] == "1.2.3"


def test_a_manifest_survives_being_written_and_read(written):
    manifest = Artifact.open(written).manifest
    assert msgspec.json.decode(msgspec.json.encode(manifest), type=Manifest) == manifest
