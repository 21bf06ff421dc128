import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

import tomllib

from ds2ta_deploy.artifact import Artifact


def test_the_file_it_writes_is_a_config_that_exports_what_was_measured(cli, tiny_checkpoint, tiny_data, tmp_path):
    config, out = tmp_path / "bits.toml", tmp_path / "out"
    shown = cli("bits", tiny_checkpoint, "--data", tiny_data, "--size", "20kB", "-o", config, "--profile", "loihi")
    assert (shown.code, shown.out) == (0, "")
    assert "blocks.0.mlp.fc1" in shown.err
    assert f"wrote {config}" in shown.err
    assert "of 4 decisions differ from 8 bits everywhere, top-1 " in shown.err
    plain = tomllib.loads(config.read_text())
    assert plain["profile"] == "loihi"
    assert set(plain["weights"].values()) <= {6, 4, "power-of-two"}
    assert cli("export", tiny_checkpoint, "--config", config, "-o", out, "--no-verify").code == 0
    assert Artifact.open(out).manifest.quantization["weights"] == plain["weights"]
    stored = cli("inspect", out, "--json").data["weights"]
    taken = sum(entry["bytes"] for entry in stored.values())
    assert taken <= 20_000
    assert f"chosen: {taken:,} bytes of weights" in shown.err
    assert config.read_text().startswith(f"# {taken:,} bytes of weights")


def test_json_is_the_choice_and_what_led_to_it(cli, tiny_checkpoint, tiny_data, tmp_path):
    shown = cli("bits", tiny_checkpoint, "--data", tiny_data, "--samples", 2, "--accuracy-loss", 50, "-o", tmp_path / "b.toml", "--json")
    assert shown.code == 0
    data = shown.data
    assert set(data) == {"output", "formats", "samples", "widest", "chosen", "layer_bytes", "sensitivities"}
    assert data["samples"] == 2
    assert len(data["sensitivities"]) == 3 * len(data["formats"])
    assert data["widest"]["correct"] - data["chosen"]["correct"] <= 1
    narrow = {layer: chosen for layer, chosen in data["formats"].items() if chosen != 8}
    assert tomllib.loads((tmp_path / "b.toml").read_text())["weights"] == narrow


@pytest.mark.parametrize("size", ["", "kB", "1e5", "-5", "10 gB", "1.2.3kB", "9" * 20])
def test_a_size_that_is_none(cli, tiny_checkpoint, tiny_data, tmp_path, size):
    assert cli("bits", tiny_checkpoint, "--data", tiny_data, "--size", size, "-o", tmp_path / "b.toml").code == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("size", "count"), [("60000", 60_000), ("60kB", 60_000), ("0.06 MB", 60_000), ("2.5KiB", 2560), ("1MiB", 2**20)])
def test_sizes_are_bytes(size, count):
    from ds2ta_deploy.cli.bits import _read_bytes

    assert _read_bytes(None, None, size) == count


def test_wrong_use_is_told_and_leaves_nothing_behind(cli, tiny_checkpoint, tiny_data, tmp_path):
    given = ("bits", tiny_checkpoint, "--data", tiny_data)
    assert cli(*given, "-o", tmp_path / "b.toml").is_error(2, "DS2TA-516")
    assert cli(*given, "--size", "1kB", "-o", tmp_path / "b.toml").is_error(2, "DS2TA-516")
    assert cli(*given, "--size", "9kB", "-o", tmp_path / "no" / "b.toml").is_error(2, "DS2TA-502")
    assert cli("bits", tiny_checkpoint, "--data", tmp_path / "no", "--size", "9kB", "-o", tmp_path / "b.toml").is_error(4, "DS2TA-130")
    assert not list(tmp_path.iterdir())
