"""Artifacts that point elsewhere, lie, or are no directory of files."""

import json
import os
import shutil
import socket
from pathlib import Path

import msgspec
import pytest
from support import read_manifest, rewrite, write_manifest

from ds2ta_deploy.artifact import (
    GOLDEN_HASHES,
    GOLDEN_INPUTS,
    GOLDEN_VALUES,
    GRAPH,
    MANIFEST,
    MODEL,
    MODEL_STEP,
    REPORT,
    Artifact,
    FileEntry,
)
from ds2ta_deploy.errors import InputError

EVERY = (GOLDEN_HASHES, GOLDEN_INPUTS, GOLDEN_VALUES, GRAPH, MANIFEST, MODEL, MODEL_STEP, REPORT)


@pytest.fixture
def artifact(good) -> Path:
    """Return an artifact to be changed."""
    return good("artifact")


# --- paths -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "vectors/../../secret",
        "vectors/../model.onnx",
        "/etc/passwd",
        "//etc/passwd",
        "..",
        "",
        "./model.onnx",
        "vectors//inputs.npz",
        "vectors/",
        "vectors\\..\\secret",
        "C:\\secret",
        "nul\0byte",
        "../" * 50_000 + "etc/passwd",
    ],
)
def test_a_manifest_that_names_a_path_outside_or_one_path_twice(tmp_path, artifact, refused, name):
    (tmp_path / "secret").write_text("secret")
    manifest = read_manifest(artifact)
    manifest["files"][name] = msgspec.to_builtins(FileEntry.of(b"secret"))
    write_manifest(artifact, manifest)
    refused("artifact", artifact, "DS2TA-155")
    with pytest.raises(InputError, match="DS2TA-155"):
        Artifact.open(artifact, allow_modified=True)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("kind", ["link", "link to itself", "link to a device", "FIFO", "socket", "directory", "nothing"])
def test_what_lies_there_is_no_file_of_the_artifact(tmp_path, artifact, refused, name, kind):
    path = artifact / name
    shutil.copyfile(path, tmp_path / "same")
    path.unlink()
    match kind:
        case "link":
            path.symlink_to(tmp_path / "same")
        case "link to itself":
            path.symlink_to(path)
        case "link to a device":
            path.symlink_to("/dev/zero")
        case "FIFO":
            os.mkfifo(path)
        case "socket":
            here = Path.cwd()
            os.chdir(path.parent)  # the name of a socket is short
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(path.name)
            os.chdir(here)
        case "directory":
            path.mkdir()
    refused("artifact", artifact, "DS2TA-150" if name == MANIFEST else "DS2TA-152")


def test_a_file_of_the_artifact_behind_a_linked_directory(tmp_path, artifact, refused):
    (artifact / "vectors").rename(tmp_path / "vectors")
    (artifact / "vectors").symlink_to(tmp_path / "vectors")
    refused("artifact", artifact, "DS2TA-152")


@pytest.mark.parametrize("reader", ["artifact", "checkpoint", "graph", "data", "settings"])
def test_a_pipe_or_a_device_instead_of_a_file_is_not_waited_for(tmp_path, refused, reader):
    codes = {"artifact": "DS2TA-150", "checkpoint": "DS2TA-101", "graph": "DS2TA-140", "data": "DS2TA-130", "settings": "DS2TA-111"}
    os.mkfifo(tmp_path / "pipe")
    refused(reader, tmp_path / "pipe", codes[reader])
    refused(reader, Path("/dev/zero"), codes[reader])


# --- hashes and sizes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in EVERY if name != MANIFEST])
def test_a_file_that_is_not_the_one_exported(artifact, refused, name):
    data = (artifact / name).read_bytes()
    for changed in (b"", data[:-1], data + b"\0", bytes([data[0] ^ 1]) + data[1:], data[:-1] + bytes([data[-1] ^ 128])):
        rewrite(artifact, name, changed)
        refused("artifact", artifact, "DS2TA-153")


@pytest.mark.parametrize("size", [-1, 0, 2**62, 2**70])
def test_a_size_that_lies(artifact, refused, size):
    manifest = read_manifest(artifact)
    manifest["files"][GRAPH]["size"] = size
    write_manifest(artifact, manifest)
    refused("artifact", artifact, "DS2TA-153")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("target", "lava"),
        ("rounding", "as you like"),
        ("config", {"depth": 9}),
        ("quantization", {}),
        ("versions", {}),
        ("parity", []),
        ("checkpoint", {"sha256": "00", "size": 1}),
        ("seal", "0" * 64),
        ("seal", ""),
        ("inline", True),
    ],
)
def test_a_claim_of_the_manifest_that_was_changed(artifact, refused, field, value):
    manifest = read_manifest(artifact)
    (artifact / MANIFEST).write_text(json.dumps(manifest | {field: value}))
    assert MANIFEST in refused("artifact", artifact, "DS2TA-153").words


def test_a_file_that_changes_between_the_check_and_its_use(artifact):
    opened = Artifact.open(artifact)
    assert opened.graph
    rewrite(artifact, GRAPH, (artifact / GRAPH).read_bytes() + b"\0")
    with pytest.raises(InputError, match=r"DS2TA-153 \[.*graph\.safetensors\]: was changed while it was being read"):
        opened.read(GRAPH)


def test_a_file_that_becomes_a_link_or_a_pipe_between_the_check_and_its_use(tmp_path, artifact):
    opened = Artifact.open(artifact)
    (artifact / GRAPH).unlink()
    os.mkfifo(artifact / GRAPH)
    with pytest.raises(InputError, match="DS2TA-152"):
        opened.read(GRAPH)
    (artifact / GRAPH).unlink()
    (tmp_path / "other").write_bytes(b"secret")
    (artifact / GRAPH).symlink_to(tmp_path / "other")
    with pytest.raises(InputError, match=r"DS2TA-15[23]"):
        opened.read(GRAPH)


# --- JSON ------------------------------------------------------------------------------------------------------------

TEXTS = {
    "deep": '{"files":' + "[" * 500_000,
    "deep, but closed": '{"config":' + '{"a":' * 100_000 + "1" + "}" * 100_000 + "}",
    "a huge integer": '{"target":"onnx","inline":' + "9" * 1_000_000 + "}",
    "a huge exponent": '{"inline":1e999999999}',
    "half a surrogate pair": '{"target":"\\ud800"}',
    "not UTF-8": b'{"target":"\xff\xfe"}',
    "NaN": '{"inline":NaN}',
    "a byte order mark": "\ufeff{}",
    "NUL": "\0" * 1000,
    "nothing": "",
    "two values": "{}{}",
    "a comment": "{} // fine",
}


@pytest.mark.parametrize("how", TEXTS)
@pytest.mark.parametrize("name", [MANIFEST, GOLDEN_HASHES, REPORT])
def test_json_that_parsers_choke_on(artifact, refused, how, name):
    data = TEXTS[how] if isinstance(TEXTS[how], bytes) else TEXTS[how].encode()
    if name == MANIFEST:
        (artifact / name).write_bytes(data)
        refused("artifact", artifact, "DS2TA-151")
    else:
        rewrite(artifact, name, data, rehash=True)
        refused("artifact-inspected" if name == REPORT else "artifact-verified", artifact, "DS2TA-157")


@pytest.mark.parametrize("depth", [200, 900, 950, 980, 990, 995, 1000, 5000])
def test_a_config_nested_about_as_deep_as_python_goes(artifact, contained, depth):
    manifest = json.dumps(read_manifest(artifact) | {"config": {"a": "HERE"}})
    (artifact / MANIFEST).write_text(manifest.replace('"HERE"', "[" * depth + "]" * depth))
    # how deep exactly is Python's business; below, the seal is wrong
    found = contained.read("artifact", artifact)
    assert (found.kind, found.codes) in [("refused", ("DS2TA-153",)), ("refused", ("DS2TA-151",))]


def test_the_same_key_twice_means_its_last_value_everywhere(artifact, refused):
    text = (artifact / MANIFEST).read_text().strip()
    (artifact / MANIFEST).write_text(text.removesuffix("}") + ', "target": "lava"}')
    refused("artifact", artifact, "DS2TA-153")  # the last one counts, and the seal says that it was not exported


def test_a_manifest_of_many_files_that_are_not_there(artifact, refused):
    manifest = read_manifest(artifact)
    manifest["files"] |= {f"{number}": {"sha256": "0", "size": 0} for number in range(50_000)}
    write_manifest(artifact, manifest)
    refused("artifact", artifact, "DS2TA-152")


def test_a_manifest_without_end(artifact, refused):
    with (artifact / MANIFEST).open("ab") as file:
        file.truncate(2**40)  # sparse: costs no disk
    refused("artifact", artifact, "DS2TA-151")


def test_a_report_of_populations_without_ops(artifact, contained):
    report = json.loads((artifact / REPORT).read_text())
    report["populations"] = [{"name": "x" * 10**6, "kind": "Single", "ops": [], "shape": [None]}]
    rewrite(artifact, REPORT, json.dumps(report).encode(), rehash=True)
    assert contained.read("artifact-inspected", artifact).kind == "accepted"
