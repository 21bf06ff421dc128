"""The target c by the commands that users type."""

import pytest
from support import names_in

from ds2ta_deploy.artifact import Artifact

pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")


def test_a_checkpoint_becomes_verified_c_code(cli, tiny_checkpoint, tiny_data, tmp_path):
    shown = cli("export", tiny_checkpoint, "--target", "c", "-o", tmp_path / "out", "--inputs", tiny_data, "--json")
    assert shown.code == 0
    assert [(entry.runtime, entry.different) for entry in Artifact.open(tmp_path / "out").manifest.parity] == [("reference", 0), ("c", 0)]
    takes = shown.data["c"]
    assert f"{takes['rom_bytes']:,} bytes of constants (ROM), {takes['ram_bytes']:,} bytes of state (RAM)" in shown.err
    header = (tmp_path / "out" / "c" / "model.h").read_text()
    assert f"#define DS2TA_RAM_BYTES {takes['ram_bytes']}u" in header
    assert f"#define DS2TA_ROM_BYTES {takes['rom_bytes']}u" in header
    shown = cli("verify", tmp_path / "out", "--runtime", "c", "--values", "all", "--json")
    assert (shown.code, shown.data["passed"]) == (0, True)
    assert cli("run", tmp_path / "out", "--inputs", tiny_data, "-o", tmp_path / "trace.npz").code == 0


def test_without_a_compiler_nothing_is_exported_unverified(cli, tiny_checkpoint, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    arguments = ("export", tiny_checkpoint, "--target", "c", "-o", tmp_path / "out", "--inputs", tiny_data)
    shown = cli(*arguments)
    assert shown.code == 5
    assert "DS2TA-406" in shown.err
    assert "apt-get install gcc" in shown.err
    assert names_in(tmp_path) == []
    assert cli(*arguments, "--no-verify").code == 0
    shown = cli("verify", tmp_path / "out", "--runtime", "c")
    assert (shown.code, "DS2TA-406" in shown.err) == (5, True)
    assert cli("verify", tmp_path / "out").code == 0  # on what there is


def test_code_that_somebody_changed_is_not_compiled(cli, tiny_checkpoint, tiny_data, tmp_path):
    cli("export", tiny_checkpoint, "--target", "c", "-o", tmp_path / "out", "--inputs", tiny_data)
    code = tmp_path / "out" / "c" / "model.c"
    code.write_text(code.read_text().replace("state->summed++;", "state->summed += 1u;"))
    shown = cli("verify", tmp_path / "out", "--runtime", "c", "--allow-modified")
    assert (shown.code, "DS2TA-166" in shown.err) == (4, True)
