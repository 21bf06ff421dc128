import dataclasses
import os

import msgspec
import numpy as np
import pytest
from support import copy_artifact, frozen, read_manifest, replaced, rewrite, some_manifest, write_manifest

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
    writer_versions,
)
from ds2ta_deploy.errors import InputError, UnsupportedError
from ds2ta_deploy.graph import ops, serialize
from ds2ta_deploy.staging import stage

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
        b'{"schema": "ds2ta-artifact/2"}',
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
        ("schema", "ds2ta-artifact/1"),
        ("schema", "ds2ta-artifact/3"),
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
