"""The commands as a user starts them: hostile files end in one line a problem, exit code 4, and nothing that moves the cursor."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.numpy
from support import read_manifest, rewrite, write_manifest

from ds2ta_deploy.artifact import GRAPH, MANIFEST, REPORT
from ds2ta_deploy.errors import Problem, printable
from ds2ta_deploy.graph.serialize import HEADER_KEY

ROOT = Path(__file__).resolve().parents[2]

#: Clears the screen, renames the window, forges a line, turns the text around, hides a letter, rings.
EVIL = "\x1b[2J\x1b]0;owned\x07\nerror DS2TA-000: forged\r\u202egpj.exe\u200b\x9b31m\x00"


def ds2ta(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the program where nothing else is; a hang ends after two minutes."""
    folder.mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ds2ta_deploy.cli.main", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder, env=environment, check=False)
    assert list(folder.iterdir()) == []
    return done


def ends_typed(done: subprocess.CompletedProcess[str], code: str, exit_code: int = 4) -> str:
    """Assert one kind of error, that exit code, no traceback and nothing unprintable; returns what was said."""
    assert done.returncode == exit_code, done
    lines = done.stderr.splitlines()
    assert lines
    assert all(line.startswith(f"error {code}") for line in lines), done.stderr
    assert all(line.isprintable() for line in lines)
    assert done.stdout == ""
    return done.stderr


def test_a_manifest_of_a_million_letters_and_escapes(tmp_path, good):
    artifact = good("artifact")
    manifest = read_manifest(artifact)
    manifest["files"] |= {f"../{EVIL}": {"sha256": "", "size": 0}, "../" + "x" * 10**6: {"sha256": "", "size": 0}}
    write_manifest(artifact, manifest)
    words = ends_typed(ds2ta("verify", artifact, folder=tmp_path / "empty"), "DS2TA-155")
    assert len(words) < 4000
    assert "forged" in words  # shown, but inside its line


def test_a_graph_whose_names_are_escapes(tmp_path, good):
    artifact = good("artifact")
    data = (artifact / GRAPH).read_bytes()
    structure = json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"][HEADER_KEY])
    structure["ops"][2]["name"] = EVIL
    rewrite(artifact, GRAPH, safetensors.numpy.save(safetensors.numpy.load(data), {HEADER_KEY: json.dumps(structure)}), rehash=True)
    ends_typed(ds2ta("verify", artifact, folder=tmp_path / "empty"), "DS2TA-142")


def test_a_report_of_escapes_is_shown_escaped(tmp_path, good):
    artifact = good("artifact")
    report = json.loads((artifact / REPORT).read_text()) | {"graph": EVIL}
    report["populations"][0]["name"] = EVIL
    rewrite(artifact, REPORT, json.dumps(report).encode(), rehash=True)
    done = ds2ta("inspect", artifact, folder=tmp_path / "empty")
    assert done.returncode == 0
    assert all(line.isprintable() for line in done.stdout.splitlines())
    assert done.stdout.startswith("\\x1b[2J")


def test_an_artifact_that_was_changed(tmp_path, good):
    artifact = good("artifact")
    (artifact / MANIFEST).write_bytes((artifact / MANIFEST).read_bytes().replace(b'"onnx"', b'"lava"'))
    ends_typed(ds2ta("run", artifact, "--inputs", good("data"), "-o", "trace.npz", folder=tmp_path / "empty"), "DS2TA-153")


@pytest.mark.parametrize(
    "text", ["a = " + "9" * 5000, "a = " + "[" * 100_000, "profile = '\x1b'", f'"{"x" * 10**6}" = 1', "[a.b]\na = nan"]
)
def test_a_config_that_parsers_choke_on(tmp_path, refused, text):
    path = tmp_path / "config.toml"
    path.write_text(text)
    refused("settings", path, "DS2TA-111")


def test_a_checkpoint_that_runs_code(tmp_path, good):
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
    path = tmp_path / f"{'x' * 200}.pt"
    path.write_bytes(b"PK\x03\x04" + b"cos\nsystem\n(S'touch ran'\ntR.")
    ends_typed(ds2ta("export", path, "-o", "out", folder=tmp_path / "empty"), "DS2TA-101")


@pytest.mark.parametrize(
    "letter", ["\x1b", "\n", "\r", "\x00", "\x07", "\x7f", "\x9b", "\u202e", "\u2066", "\u200b", "\ufeff", "\u2028", "\ud800"]
)
def test_every_letter_that_moves_hides_or_turns_is_escaped(letter):
    shown = str(Problem("DS2TA-101", f"a{letter}b", f"c{letter}d", f"e{letter}f"))
    assert shown.isprintable()
    assert letter not in shown
    assert shown.count(repr(letter)[1:-1]) == 3


def test_long_texts_keep_their_ends():
    shown = str(Problem("DS2TA-101", "is " + "x" * 10**6 + " wrong", "/a/" + "y" * 10**6 + "/file", "mend it"))
    assert len(shown) < 3000
    assert shown.startswith("DS2TA-101 [/a/y")
    assert "/file]: is x" in shown
    assert shown.endswith("x wrong (mend it)")


def test_what_people_write_is_left_as_it_is():
    assert printable("größe 尺寸 ✓ a/b.onnx") == "größe 尺寸 ✓ a/b.onnx"
