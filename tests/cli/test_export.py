import errno
import hashlib
import json
import os
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from builders import assert_fires, trace_of
from support import COMPARED, STEPPED, Tampered, files_of, names_in, on_onnxruntime

from ds2ta_deploy import exporting
from ds2ta_deploy.artifact import GOLDEN_VALUES, GRAPH, MODEL, Artifact
from ds2ta_deploy.cli.export import command as export_command
from ds2ta_deploy.cli.main import run
from ds2ta_deploy.runtimes.table import open_runtime

# --- it works --------------------------------------------------------------------------------------------------------


def test_a_checkpoint_becomes_a_verified_artifact(cli, tiny_checkpoint, tiny_data, tiny_graph, tiny_inputs, tmp_path):
    shown = cli("export", tiny_checkpoint, "--target", "onnx", "-o", tmp_path / "out", "--inputs", tiny_data)
    assert (shown.code, shown.out) == (0, "")
    artifact = Artifact.open(tmp_path / "out")
    assert [(e.runtime, e.samples, e.different) for e in artifact.manifest.parity] == [
        (name, 4, 0) for name in ("reference", "onnxruntime", STEPPED)
    ]
    assert_fires(trace_of(artifact.graph, tiny_inputs))
    assert np.array_equal(trace_of(artifact.graph, tiny_inputs)["head.logits"], trace_of(tiny_graph, tiny_inputs)["head.logits"])
    for word in ("Parity on 4 samples", "torch (baseline)", "reference", "onnxruntime", "firing rates", f"wrote {tmp_path / 'out'}"):
        assert word in shown.err
    assert "warning" not in shown.err


def test_the_manifest_names_checkpoint_config_and_settings(tiny_artifact, tiny_checkpoint, tiny_config):
    manifest = Artifact.open(tiny_artifact).manifest
    data = tiny_checkpoint.read_bytes()
    assert (manifest.checkpoint.sha256, manifest.checkpoint.size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert msgspec.convert(manifest.config, type(tiny_config)) == tiny_config
    assert manifest.quantization == {"profile": "cpu", "weight_bits": 8, "first_layer_bits": 10, "stream_bits": 14, "thresholds": "channel"}
    assert "floor" in manifest.rounding


def test_the_exported_file_gives_the_recorded_logits_without_our_package(tiny_artifact):
    with np.load(tiny_artifact / "vectors" / "inputs.npz") as inputs, np.load(tiny_artifact / GOLDEN_VALUES) as expected:
        found = on_onnxruntime(onnx.load(tiny_artifact / MODEL), {"images": inputs["images"]})
        assert np.array_equal(found["head.logits"], expected["head.logits"])


def test_json_is_all_that_stdout_carries(cli, tiny_checkpoint, tiny_data, tmp_path):
    shown = cli("export", tiny_checkpoint, "-o", tmp_path / "out", "--inputs", tiny_data, "--json")
    assert (shown.code, shown.err) == (0, "")
    data = shown.data
    assert set(data) == {"artifact", "files", "parity"}
    assert data["artifact"] == str(tmp_path / "out")
    assert {name: entry["sha256"] for name, entry in data["files"].items()} == {
        name: hashlib.sha256(content).hexdigest() for name, content in files_of(tmp_path / "out").items() if name != "manifest.json"
    }
    assert data["parity"]["passed"] is True
    assert data["parity"]["baseline"] == "torch"
    assert [result["runtime"] for result in data["parity"]["runtimes"]] == ["reference", "onnxruntime", STEPPED]
    assert all(0.005 < rate < 0.95 for rate in data["parity"]["firing_rates"].values())


def test_twice_gives_identical_bytes(cli, tiny_checkpoint, tiny_data, tiny_artifact, tmp_path):
    cli("export", tiny_checkpoint, "-o", tmp_path / "again", "--inputs", tiny_data)
    assert files_of(tmp_path / "again") == files_of(tiny_artifact)


def test_ds2ta_export_is_the_same_under_the_promised_name(tiny_checkpoint, tiny_data, tiny_artifact, tmp_path, capsys):
    arguments = [str(tiny_checkpoint), "--target", "onnx", "-o", str(tmp_path / "out"), "--inputs", str(tiny_data)]
    assert run(export_command, arguments, "ds2ta-export") == 0
    assert files_of(tmp_path / "out") == files_of(tiny_artifact)
    assert run(export_command, ["--help"], "ds2ta-export") == 0
    assert capsys.readouterr().out.startswith("Usage: ds2ta-export ")


def test_without_a_name_the_checkpoints_and_the_targets_are_taken(cli, tiny_checkpoint, tmp_path):
    checkpoint = tmp_path / "net.v2.safetensors"
    checkpoint.write_bytes(tiny_checkpoint.read_bytes())
    assert cli("export", checkpoint, "--no-verify").code == 0
    assert names_in(tmp_path) == ["net.v2-onnx", "net.v2.safetensors"]


def test_without_inputs_synthetic_ones_are_used(cli, tiny_checkpoint, tmp_path):
    shown = cli("export", tiny_checkpoint, "-o", tmp_path / "out", "--json")
    assert shown.data["parity"]["samples"] == 8


def test_fewer_synthetic_ones_when_fewer_are_wanted(cli, tiny_checkpoint, tmp_path):
    assert cli("export", tiny_checkpoint, "-o", tmp_path / "out", "--samples", 2, "--json").data["parity"]["samples"] == 2


def test_inputs_beside_the_checkpoint_are_taken(cli, tiny_checkpoint, tiny_data, tiny_artifact, tmp_path):
    checkpoint, pictures = tmp_path / "net.safetensors", tmp_path / "net.npz"
    checkpoint.write_bytes(tiny_checkpoint.read_bytes())
    pictures.write_bytes(tiny_data.read_bytes())
    shown = cli("export", checkpoint, "-o", tmp_path / "out")
    assert f"verifying on {pictures}\n" in shown.err
    assert (tmp_path / "out" / "vectors" / "inputs.npz").read_bytes() == (tiny_artifact / "vectors" / "inputs.npz").read_bytes()


def test_no_more_samples_than_wanted(cli, tiny_checkpoint, tiny_data, tmp_path):
    shown = cli("export", tiny_checkpoint, "-o", tmp_path / "out", "--inputs", tiny_data, "--samples", 3, "--json")
    assert shown.data["parity"]["samples"] == 3


def test_all_runtimes_and_all_values(cli, tiny_checkpoint, tiny_data, tiny_graph, tmp_path):
    arguments = ["-o", tmp_path / "out", "--inputs", tiny_data, "--runtime", "all", "--values", "all", "--json"]
    results = cli("export", tiny_checkpoint, *arguments).data["parity"]["runtimes"]
    assert [result["runtime"] for result in results] == ["reference", *COMPARED]
    assert {result["values"] for result in results} == {len(tiny_graph.observable)}


def test_one_runtime_after_another_may_be_named(cli, tiny_checkpoint, tmp_path):
    arguments = [
        "-o",
        tmp_path / "out",
        "--samples",
        2,
        "--runtime",
        "onnx-reference",
        "--runtime",
        "torch",
        "--runtime",
        "reference",
        "--json",
    ]
    results = cli("export", tiny_checkpoint, *arguments).data["parity"]["runtimes"]
    assert [result["runtime"] for result in results] == ["reference", "onnx-reference"]


def test_without_verification_it_says_so(cli, tiny_checkpoint, tmp_path):
    shown = cli("export", tiny_checkpoint, "-o", tmp_path / "out", "--no-verify")
    assert (shown.code, shown.out, shown.err) == (0, "", f"wrote {tmp_path / 'out'} (not verified)\n")
    assert Artifact.open(tmp_path / "out").manifest.parity == ()


def test_inline_expands_the_functions(cli, tiny_checkpoint, tiny_data, tmp_path):
    assert cli("export", tiny_checkpoint, "-o", tmp_path / "out", "--inputs", tiny_data, "--inline").code == 0
    model = onnx.load(tmp_path / "out" / MODEL)
    assert not model.functions
    assert Artifact.open(tmp_path / "out").manifest.inline


@pytest.mark.parametrize("name", ["a[red]b", "a[b", "[bold]", "ümlaut", "with space"])
def test_the_name_of_the_output_is_shown_as_it_is(cli, tiny_checkpoint, tmp_path, name):
    shown = cli("export", tiny_checkpoint, "-o", tmp_path / name, "--no-verify")
    assert (shown.code, shown.err) == (0, f"wrote {tmp_path / name} (not verified)\n")
    assert names_in(tmp_path) == [name]


# --- settings --------------------------------------------------------------------------------------------------------


def test_options_win_over_the_config_file(cli, tiny_checkpoint, tmp_path):
    (tmp_path / "config.toml").write_text('profile = "loihi"\nweight_bits = 4\n')
    shown = cli("export", tiny_checkpoint, "-o", tmp_path / "out", "--config", tmp_path / "config.toml", "--weight-bits", 6, "--no-verify")
    assert shown.code == 0
    artifact = Artifact.open(tmp_path / "out")
    assert artifact.manifest.quantization == {
        "profile": "loihi",
        "weight_bits": 6,
        "first_layer_bits": 10,
        "stream_bits": 14,
        "thresholds": "channel",
    }
    weights = [op.weight for op in artifact.graph if hasattr(op, "weight")]
    assert max(int(np.abs(weight).max()) for weight in weights[1:]) == 31
    assert int(np.abs(weights[0]).max()) > 31


def test_weight_formats_are_read_from_the_config_file(cli, tiny_checkpoint, tmp_path):
    (tmp_path / "bits.toml").write_text('weight_bits = 6\n[weights]\n"blocks.*" = 4\n"blocks.0.mlp.fc1" = "power-of-two"\n')
    out = tmp_path / "out"
    assert cli("export", tiny_checkpoint, "-o", out, "--config", tmp_path / "bits.toml", "--samples", 2).code == 0
    assert Artifact.open(out).manifest.quantization["weights"] == {"blocks.*": 4, "blocks.0.mlp.fc1": "power-of-two"}
    shown = cli("inspect", out, "--json").data["weights"]
    expected = {"patch.stages.1": "int6", "blocks.0.attn.q": "int4", "blocks.0.mlp.fc1": "power-of-two", "head": "int6"}
    assert {name: shown[name]["formats"] for name in expected} == {name: [stored] for name, stored in expected.items()}
    assert shown["blocks.0.mlp.fc1"]["bytes"] == 32 * 128 // 2
    (line,) = [line for line in cli("inspect", out).out.splitlines() if line.strip(" ├└│─").startswith("fc1 ")]
    assert "stored in 2,048 bytes (power-of-two)" in line
    # The checkpoint gives the same integers again: the manifest says with which formats.
    assert cli("verify", out, "--runtime", "onnxruntime", "--checkpoint", tiny_checkpoint).code == 0


def test_every_unknown_layer_and_format_of_a_config_file_is_named(cli, tiny_checkpoint, tmp_path):
    (tmp_path / "bits.toml").write_text('[weights]\n"blocks.9.*" = 4\n"head" = "ternary"\n"patch.stages.0" = 3\n')
    shown = cli("export", tiny_checkpoint, "-o", tmp_path / "out", "--config", tmp_path / "bits.toml")
    assert shown.is_error(4, *["DS2TA-112"] * 4)
    assert all(word in shown.err for word in ("blocks.9.*", "ternary", "patch.stages.0"))
    assert names_in(tmp_path) == ["bits.toml"]


@pytest.mark.parametrize("table", ["head = [4]", "head = 4.0", "head = true", "[weights.blocks]"])
def test_a_table_of_formats_that_is_none(cli, tiny_checkpoint, tmp_path, table):
    (tmp_path / "bits.toml").write_text(f"[weights]\n{table}\n")
    assert cli("export", tiny_checkpoint, "-o", tmp_path / "out", "--config", tmp_path / "bits.toml").is_error(4, "DS2TA-111")


@pytest.mark.parametrize(
    "content", ["not toml", 'profile = "cpu"\nunknown = 1', 'weight_bits = "eight"', "weight_bits = 8.5", "\udcff", "[section]\nx = 1"]
)
def test_a_config_file_that_is_none(cli, tiny_checkpoint, tmp_path, content):
    (tmp_path / "config.toml").write_bytes(content.encode("utf-8", "surrogateescape"))
    shown = cli("export", tiny_checkpoint, "-o", tmp_path / "out", "--config", tmp_path / "config.toml")
    assert shown.is_error(4, "DS2TA-111")
    assert names_in(tmp_path) == ["config.toml"]


def test_a_config_file_that_is_not_there(cli, tiny_checkpoint, tmp_path):
    assert cli("export", tiny_checkpoint, "-o", tmp_path / "out", "--config", tmp_path / "nothing").is_error(4, "DS2TA-111")
    assert cli("export", tiny_checkpoint, "-o", tmp_path / "out", "--config", tmp_path).is_error(4, "DS2TA-111")


def test_every_setting_out_of_its_range_is_named(cli, tiny_checkpoint, tmp_path):
    (tmp_path / "config.toml").write_text('profile = "tpu"\nweight_bits = 9\nfirst_layer_bits = 16\nthresholds = "neuron"\n')
    shown = cli("export", tiny_checkpoint, "-o", tmp_path / "out", "--config", tmp_path / "config.toml")
    assert shown.is_error(4, "DS2TA-111", "DS2TA-111", "DS2TA-111", "DS2TA-111")


@pytest.mark.parametrize(
    "arguments",
    ["--target verilog", "--weight-bits 9", "--first-layer-bits 7", "--profile tpu", "--samples 0", "--values x", "--thresholds neuron"],
)
def test_an_option_out_of_its_range_is_usage(cli, tiny_checkpoint, tmp_path, arguments):
    shown = cli("export", tiny_checkpoint, "-o", tmp_path / "out", *arguments.split())
    assert (shown.code, shown.out) == (2, "")
    assert names_in(tmp_path) == []


# --- bad checkpoints -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"text", b"\x08\0\0\0\0\0\0\0{}      ", b"PK\x03\x04damaged", b"\x89PNG\r\n", b"\xff" * 4096])
def test_a_file_that_is_no_checkpoint(cli, tmp_path, data):
    (tmp_path / "c.safetensors").write_bytes(data)
    shown = cli("export", tmp_path / "c.safetensors", "-o", tmp_path / "out")
    assert shown.code == 4
    assert shown.is_error(4, "DS2TA-102" if data.endswith(b"{}      ") else "DS2TA-101")
    assert names_in(tmp_path) == ["c.safetensors"]


@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_a_truncated_checkpoint(cli, tiny_checkpoint, tmp_path, share):
    data = tiny_checkpoint.read_bytes()
    (tmp_path / "c.safetensors").write_bytes(data[: int(share * len(data))])
    assert cli("export", tmp_path / "c.safetensors", "-o", tmp_path / "out").is_error(4, "DS2TA-101")
    assert names_in(tmp_path) == ["c.safetensors"]


@pytest.mark.parametrize("path", ["nothing", ".", "/", "", "directory"])
def test_a_checkpoint_that_is_no_file(cli, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "directory").mkdir()
    assert cli("export", path).is_error(4, "DS2TA-101")
    assert names_in(tmp_path) == ["directory"]


def test_weights_that_are_not_finite_are_all_named(cli, altered_checkpoint, tmp_path):
    def spoil(tensors):
        tensors["blocks.0.mlp.fc1.weight"][0, 0] = float("nan")
        tensors["head.bias"][1] = float("-inf")

    shown = cli("export", altered_checkpoint(spoil), "-o", tmp_path / "out")
    assert shown.is_error(4, "DS2TA-103", "DS2TA-103")
    assert "blocks.0.mlp.fc1.weight" in shown.err
    assert "head.bias" in shown.err
    assert names_in(tmp_path) == ["altered.safetensors"]


def test_an_unknown_architecture(cli, altered_checkpoint, tmp_path):
    shown = cli("export", altered_checkpoint(family="resnet"), "-o", tmp_path / "out")
    assert shown.is_error(3, "DS2TA-201")
    assert "'resnet'" in shown.err
    assert names_in(tmp_path) == ["altered.safetensors"]


def test_missing_unexpected_and_misshapen_tensors_are_all_named_at_once(cli, altered_checkpoint, tmp_path):
    def change(tensors):
        del tensors["head.weight"]
        tensors["head.extra"] = torch.zeros(3)
        tensors["blocks.0.attn.q.weight"] = tensors["blocks.0.attn.q.weight"][:-1].contiguous()

    shown = cli("export", altered_checkpoint(change), "-o", tmp_path / "out")
    assert shown.code == 4
    codes = {line.split()[1]: line for line in shown.err.splitlines()}
    assert set(codes) == {"DS2TA-105", "DS2TA-106", "DS2TA-107"}
    assert "head.weight" in codes["DS2TA-105"]
    assert "head.extra" in codes["DS2TA-106"]
    assert "blocks.0.attn.q.weight" in codes["DS2TA-107"]
    assert names_in(tmp_path) == ["altered.safetensors"]


def test_tensor_names_cannot_reach_the_terminal(cli, altered_checkpoint, tmp_path):
    shown = cli("export", altered_checkpoint(lambda tensors: tensors.update({"\x1b[31mred": torch.zeros(1)})), "-o", tmp_path / "out")
    assert shown.is_error(4, "DS2TA-106")
    assert "\x1b" not in shown.err


def test_a_contradictory_config_is_refused_field_by_field(cli, altered_checkpoint, tmp_path):
    shown = cli("export", altered_checkpoint(num_heads=5, pool_stages="10"), "-o", tmp_path / "out")
    assert shown.is_error(4, "DS2TA-110", "DS2TA-110")


def test_a_pickle_is_never_run(cli, tmp_path):
    class Attack:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "owned",))

    torch.save({"state_dict": {}, "config": Attack()}, tmp_path / "c.pt")
    assert cli("export", tmp_path / "c.pt", "-o", tmp_path / "out").is_error(4, "DS2TA-101")
    assert names_in(tmp_path) == ["c.pt"]


# --- bad inputs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrays", "codes"),
    [
        ({"images": np.zeros((2, 12, 10, 1), np.float32)}, ["DS2TA-133"]),
        ({"images": np.zeros((2, 12, 10), np.uint8)}, ["DS2TA-133"]),
        ({"pictures": np.zeros((2, 12, 10, 1), np.uint8)}, ["DS2TA-133"]),
        ({"images": np.zeros((2, 28, 28, 1), np.uint8)}, ["DS2TA-121"]),
        ({"images": np.zeros((2, 12, 10, 3), np.uint8)}, ["DS2TA-121"]),
        ({"frames": np.zeros((4, 2, 12, 10, 1), np.uint8)}, ["DS2TA-121"]),
    ],
)
def test_inputs_of_the_wrong_shape_type_or_name(cli, tiny_checkpoint, tmp_path, arrays, codes):
    np.savez(tmp_path / "inputs.npz", **arrays)
    shown = cli("export", tiny_checkpoint, "-o", tmp_path / "out", "--inputs", tmp_path / "inputs.npz")
    assert shown.is_error(4, *codes)
    assert names_in(tmp_path) == ["inputs.npz"]


def test_inputs_that_hold_nothing(cli, tiny_checkpoint, tmp_path):
    np.savez(tmp_path / "inputs.npz", images=np.zeros((0, 12, 10, 1), np.uint8))
    assert cli("export", tiny_checkpoint, "-o", tmp_path / "out", "--inputs", tmp_path / "inputs.npz").is_error(2, "DS2TA-507")
    assert names_in(tmp_path) == ["inputs.npz"]


@pytest.mark.parametrize(("data", "code"), [(None, "DS2TA-130"), (b"", "DS2TA-132"), (b"PK\x03\x04", "DS2TA-132"), (b"text", "DS2TA-132")])
def test_inputs_that_are_no_archive(cli, tiny_checkpoint, tmp_path, data, code):
    if data is not None:
        (tmp_path / "inputs.npz").write_bytes(data)
    before = names_in(tmp_path)
    assert cli("export", tiny_checkpoint, "-o", tmp_path / "out", "--inputs", tmp_path / "inputs.npz").is_error(4, code)
    assert names_in(tmp_path) == before


# --- bad outputs -----------------------------------------------------------------------------------------------------


def test_an_output_that_exists(cli, tiny_checkpoint, tmp_path):
    (tmp_path / "out").mkdir()
    shown = cli("export", tiny_checkpoint, "-o", tmp_path / "out")
    assert shown.is_error(2, "DS2TA-501")
    assert names_in(tmp_path / "out") == []


def test_an_output_that_cannot_be_written(cli, tiny_checkpoint, tmp_path):
    (tmp_path / "file").write_text("no directory")
    assert cli("export", tiny_checkpoint, "-o", tmp_path / "file" / "out").is_error(2, "DS2TA-502")
    assert cli("export", tiny_checkpoint, "-o", tmp_path / ("x" * 300)).is_error(2, "DS2TA-502")
    assert files_of(tmp_path) == {"file": b"no directory"}


def test_a_full_disk(cli, tiny_checkpoint, tmp_path, monkeypatch):
    def write_bytes(self, _data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    shown = cli("export", tiny_checkpoint, "-o", tmp_path / "out")
    assert shown.is_error(2, "DS2TA-502")
    assert "No space left on device" in shown.err
    assert names_in(tmp_path) == []


# --- it does not verify ----------------------------------------------------------------------------------------------


def test_one_wrong_integer_is_exit_code_one_and_out_failed(cli, tiny_checkpoint, tiny_data, tmp_path, monkeypatch):
    def opened(name, artifact, checkpoint=None, **_options):
        return Tampered(open_runtime(name, artifact, checkpoint), "blocks.0.attn.v.spikes", (3, 1, 4, 1))

    monkeypatch.setattr(exporting, "open_runtime", opened)
    shown = cli("export", tiny_checkpoint, "-o", tmp_path / "out", "--inputs", tiny_data)
    assert shown.is_error(1, "DS2TA-301", "DS2TA-303")
    assert "[blocks.0.attn.v.spikes]" in shown.err
    assert "(sample 1, time step 3, index [4, 1])" in shown.err
    assert str(tmp_path / "out.failed") in shown.err
    assert names_in(tmp_path) == ["out.failed"]
    assert "wrote" not in shown.err


def test_a_missing_runtime_is_exit_code_five(cli, tiny_checkpoint, tmp_path, monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None if name == "onnxruntime" else found(name, package))
    shown = cli("export", tiny_checkpoint, "-o", tmp_path / "out")
    assert shown.is_error(5, "DS2TA-401")
    assert "pip install ds2ta-deploy" in shown.err
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None if name == "torch" else found(name, package))
    shown = cli("export", tiny_checkpoint, "-o", tmp_path / "out")
    assert shown.is_error(5, "DS2TA-401")
    assert "pip install 'ds2ta-deploy[torch]'" in shown.err
    assert names_in(tmp_path) == []


def test_an_unknown_runtime(cli, tiny_checkpoint, tmp_path):
    assert cli("export", tiny_checkpoint, "-o", tmp_path / "out", "--runtime", "tensorrt").is_error(2, "DS2TA-504")
    assert names_in(tmp_path) == []


def test_layers_that_stay_silent_are_named(cli, altered_checkpoint, tmp_path):
    def deafen(tensors):
        tensors["blocks.0.mlp.fc2.norm.bias"].fill_(-100.0)

    shown = cli("export", altered_checkpoint(deafen), "-o", tmp_path / "out")
    assert shown.code == 0
    assert "warning blocks.0.mlp.fc2.spikes fires 0.00%" in shown.err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert "blocks.0.mlp.fc2.spikes" in report["silent"]
    assert Artifact.open(tmp_path / "out").read(GRAPH)
