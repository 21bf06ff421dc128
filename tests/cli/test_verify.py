import json
import re

import numpy as np
import pytest
from builders import assert_fires, trace_of
from native_support import Recipe, build
from support import (
    COMPARED,
    ELSEWHERE,
    NATIVE,
    ON_ONNX,
    ONNX_NATIVE,
    STEPPED,
    copy_artifact,
    frozen,
    one_more,
    read_manifest,
    rewrite,
    write_manifest,
)

from ds2ta_deploy.artifact import GOLDEN_HASHES, MODEL
from ds2ta_deploy.exporting import export
from ds2ta_deploy.graph.populations import population_values

# --- it is as exported -----------------------------------------------------------------------------------------------


def test_an_artifact_that_is_as_exported(cli, small_artifact, small_graph, small_inputs):
    assert_fires(trace_of(small_graph, small_inputs))
    shown = cli("verify", small_artifact)
    assert (shown.code, shown.out) == (0, "")
    integers = sum(trace_of(small_graph, small_inputs)[name].size for name in population_values(small_graph))
    for word in ("Parity on 5 samples", "reference (baseline)", "onnxruntime", "onnx-reference", "golden", f"{integers:,}", "firing rates"):
        assert word in shown.err
    assert "the runtime torch was left out: it needs --checkpoint" in shown.err
    assert shown.err.endswith("every integer is equal\n")
    assert "\x1b" not in shown.err


def test_json_is_all_that_stdout_carries(cli, small_artifact, small_graph):
    shown = cli("verify", small_artifact, "--json")
    assert (shown.code, shown.err) == (0, "")
    data = shown.data
    assert set(data) == {"passed", "baseline", "samples", "runtimes", "firing_rates", "hashes", "left_out"}
    assert (data["passed"], data["samples"]) == (True, 5)
    assert data["baseline"] == "reference"
    assert [result["runtime"] for result in data["runtimes"]] == [*COMPARED, "golden"]
    assert all(set(result) == {"runtime", "values", "integers", "different"} and result["different"] == 0 for result in data["runtimes"])
    assert set(data["hashes"]) == set(population_values(small_graph))
    assert all(0.005 < rate < 0.95 for rate in data["firing_rates"].values())


def test_values_all_compares_everything(cli, small_artifact, small_graph):
    results = cli("verify", small_artifact, "--values", "all", "--json").data["runtimes"]
    assert [result["values"] for result in results[:-1]] == [len(small_graph.observable)] * len(COMPARED)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--runtime", "onnxruntime"], ["onnxruntime", STEPPED, "golden"]),
        (["--runtime", "onnx-reference", "--runtime", "onnxruntime"], ["onnx-reference", "onnxruntime", STEPPED, "golden"]),
        (["--runtime", "all"], [*COMPARED, "golden"]),
    ],
)
def test_only_the_runtimes_asked_for(cli, small_artifact, arguments, expected):
    assert [result["runtime"] for result in cli("verify", small_artifact, *arguments, "--json").data["runtimes"]] == expected


def test_other_inputs(cli, small_artifact, small_data):
    data = cli("verify", small_artifact, "--inputs", small_data, "--json").data
    assert [result["runtime"] for result in data["runtimes"]] == COMPARED
    assert data["passed"]


def test_with_the_checkpoint_pytorch_joins(cli, tiny_artifact, tiny_checkpoint, tiny_graph):
    data = cli("verify", tiny_artifact, "--checkpoint", tiny_checkpoint, "--values", "all", "--json").data
    assert [(result["runtime"], result["different"]) for result in data["runtimes"]] == [
        (name, 0) for name in ("reference", *COMPARED, "golden")
    ]
    assert data["baseline"] == "torch"
    assert data["runtimes"][1]["values"] == len(tiny_graph.observable)
    assert "left out" not in cli("verify", tiny_artifact, "--checkpoint", tiny_checkpoint).err


# --- one weight changed by one: the issue's own example --------------------------------------------------------------


def test_a_changed_weight_is_refused_and_told_to_go_on_named_to_the_index(cli, small_artifact, small_graph, small_inputs, tmp_path):
    changed = copy_artifact(small_artifact, tmp_path / "changed")
    rewrite(changed, MODEL, one_more((changed / MODEL).read_bytes(), "blocks.0.mlp.fc1.weight", 21))

    shown = cli("verify", changed)
    assert shown.is_error(4, "DS2TA-153")
    assert str(changed / MODEL) in shown.err
    assert "is not the file that was exported (its hash differs)" in shown.err

    shown = cli("verify", changed, "--allow-modified", "--values", "all")
    assert (shown.code, shown.out) == (1, "")
    assert "warning model.onnx is not the file that was exported; going on" in shown.err
    found = re.findall(r"error DS2TA-301 \[(.+?)\]: (\S+) computes (-?\d+) where reference has (-?\d+) \((.+)\)", shown.err)
    on_the_file = [name for name in ON_ONNX if name not in NATIVE]
    assert [(value, runtime) for value, runtime, *_ in found] == [("blocks.0.mlp.fc1.product", name) for name in on_the_file]
    # the weight's row is input channel 1, its column output channel 5: found in the first sample, step and token that has
    # input channel 1, at output channel 5, larger by that count
    trace = trace_of(small_graph, small_inputs)
    counts = trace["blocks.0.attn_residual"].swapaxes(0, 1)[..., 1]  # sample, step, token
    sample, step, token = (int(position) for position in np.argwhere(counts)[0])
    product = int(trace["blocks.0.mlp.fc1.product"][step, sample, token, 5])
    expected = (str(product + int(counts[sample, step, token])), str(product), f"sample {sample}, time step {step}, index [{token}, 5]")
    assert [tuple(rest) for _, _, *rest in found] == [expected] * len(on_the_file)
    assert "every integer is equal" not in shown.err


def test_between_populations_the_first_wrong_spike_is_named(cli, changeable):
    model = (changeable / MODEL).read_bytes()
    for index in range(16):
        model = one_more(model, "blocks.0.mlp.fc1.threshold", index)
    for index in range(128):
        model = one_more(model, "blocks.0.mlp.fc1.weight", index)
    rewrite(changeable, MODEL, model)
    shown = cli("verify", changeable, "--allow-modified", "--runtime", "onnxruntime", "--values", "populations")
    assert shown.code == 1
    assert re.search(
        r"error DS2TA-301 \[blocks\.0\.mlp\.fc1\.spikes\]: .* computes [01] .* has [01] \(sample \d, time step \d, index \[\d+, \d+\]\)",
        shown.err,
    )


def test_json_of_a_failure_is_still_json(cli, changeable):
    rewrite(changeable, MODEL, one_more((changeable / MODEL).read_bytes(), "head.bias", 2))
    shown = cli("verify", changeable, "--allow-modified", "--json")
    assert shown.code == 1
    assert shown.data["passed"] is False
    different = {result["runtime"]: result["different"] for result in shown.data["runtimes"]}
    assert different == {name: 0 if name in ELSEWHERE else 5 for name in COMPARED} | {"golden": 0}
    lines = [line.split()[1:3] for line in shown.err.splitlines() if line.startswith("error")]
    assert lines == [["DS2TA-301", "[head.logits]:"]] * (len(ON_ONNX) - len(NATIVE))


def test_a_graph_that_no_longer_computes_what_was_recorded(cli, changeable):
    hashes = json.loads((changeable / GOLDEN_HASHES).read_text()) | {"head.logits": "00"}
    rewrite(changeable, GOLDEN_HASHES, json.dumps(hashes).encode(), rehash=True)
    shown = cli("verify", changeable)
    assert (shown.code, shown.out) == (1, "")
    assert "error DS2TA-304 [head.logits]: reference no longer computes what was recorded at export" in shown.err


# --- damaged artifacts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "graph.safetensors",
        "model.onnx",
        "model_step.onnx",
        "report.json",
        "vectors/expected.npz",
        "vectors/hashes.json",
        "vectors/inputs.npz",
    ],
)
def test_every_file_of_an_artifact_is_checked(cli, changeable, name):
    data = (changeable / name).read_bytes()
    (changeable / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert cli("verify", changeable).is_error(4, "DS2TA-153")
    (changeable / name).write_bytes(data[: len(data) // 2])
    assert cli("verify", changeable).is_error(4, "DS2TA-153")
    (changeable / name).unlink()
    assert cli("verify", changeable).is_error(4, "DS2TA-152")
    assert cli("verify", changeable, "--allow-modified").is_error(4, "DS2TA-152")


@pytest.mark.parametrize(
    ("name", "data", "exit_code", "code"),
    [
        ("model.onnx", b"garbage", 4, "DS2TA-160"),
        ("model.onnx", b"", 4, "DS2TA-161"),
        ("model_step.onnx", b"garbage", 4, "DS2TA-160"),
        ("model_step.onnx", b"", 4, "DS2TA-161"),
        ("graph.safetensors", b"garbage", 4, "DS2TA-140"),
        ("vectors/inputs.npz", b"garbage", 4, "DS2TA-132"),
        ("vectors/hashes.json", b"garbage", 4, "DS2TA-157"),
        ("vectors/hashes.json", b"[]", 4, "DS2TA-157"),
    ],
)
def test_garbage_instead_of_a_file_even_when_allowed_is_one_line(cli, changeable, name, data, exit_code, code):
    rewrite(changeable, name, data)
    shown = cli("verify", changeable, "--allow-modified")
    assert (shown.code, shown.out) == (exit_code, "")
    assert [line.split()[1] for line in shown.err.splitlines() if line.startswith("error")] == [code]
    assert "Traceback" not in shown.err


def test_what_is_no_artifact(cli, tmp_path, tiny_checkpoint):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "nothing", tiny_checkpoint, "x" * 300):
        assert cli("verify", path).is_error(4, "DS2TA-150")


def test_a_bad_manifest(cli, changeable):
    write_manifest(changeable, read_manifest(changeable) | {"schema": "ds2ta-artifact/9"})
    assert cli("verify", changeable).is_error(4, "DS2TA-151")


def test_a_manifest_that_points_outside(cli, changeable):
    manifest = read_manifest(changeable)
    manifest["files"]["../../etc/passwd"] = {"sha256": "0" * 64, "size": 1}
    write_manifest(changeable, manifest)
    assert cli("verify", changeable, "--allow-modified").is_error(4, "DS2TA-155")


def test_names_in_a_manifest_cannot_reach_the_terminal(cli, changeable):
    manifest = read_manifest(changeable)
    name = "x\x1b[31m[red].bin"
    manifest["files"][name] = {"sha256": "0" * 64, "size": 1}
    (changeable / name).write_text("x")
    write_manifest(changeable, manifest)
    assert cli("verify", changeable).is_error(4, "DS2TA-153")
    shown = cli("verify", changeable, "--allow-modified", "--runtime", "reference")
    assert shown.code == 0
    assert "warning x\\x1b[31m[red].bin is not the file that was exported" in shown.err
    assert "\x1b" not in shown.err


# --- wrong use -------------------------------------------------------------------------------------------------------


def test_runtimes_that_cannot_be_used(cli, small_artifact, monkeypatch):
    assert cli("verify", small_artifact, "--runtime", "tensorrt").is_error(2, "DS2TA-504")
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    assert cli("verify", small_artifact, "--runtime", "onnxruntime").is_error(5, "DS2TA-401")


def test_the_runtime_torch_needs_the_checkpoint(cli, small_artifact):
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
    assert cli("verify", small_artifact, "--runtime", "torch").is_error(2, "DS2TA-503")


def test_another_checkpoint(cli, tiny_artifact, altered_checkpoint, tmp_path):
    assert cli("verify", tiny_artifact, "--checkpoint", altered_checkpoint()).is_error(4, "DS2TA-156")
    assert cli("verify", tiny_artifact, "--checkpoint", tmp_path / "nothing").is_error(4, "DS2TA-101")


@pytest.mark.parametrize(
    ("arrays", "exit_code", "code"),
    [
        ({"images": np.zeros((2, 7, 5, 2), np.int16)}, 4, "DS2TA-133"),
        ({"images": np.zeros((2, 5, 7, 2), np.uint8)}, 4, "DS2TA-121"),
        ({"frames": np.zeros((4, 2, 7, 5, 2), np.uint8)}, 4, "DS2TA-121"),
        ({"images": np.zeros((0, 7, 5, 2), np.uint8)}, 2, "DS2TA-507"),
        ({"labels": np.zeros(2, np.int64)}, 4, "DS2TA-133"),
    ],
)
def test_inputs_that_do_not_fit(cli, small_artifact, tmp_path, arrays, exit_code, code):
    np.savez(tmp_path / "inputs.npz", **arrays)
    assert cli("verify", small_artifact, "--inputs", tmp_path / "inputs.npz").is_error(exit_code, code)


def test_inputs_that_are_not_there(cli, small_artifact, tmp_path):
    assert cli("verify", small_artifact, "--inputs", tmp_path / "nothing").is_error(4, "DS2TA-130")
    assert cli("verify", small_artifact, "--inputs", tmp_path).is_error(4, "DS2TA-130")


def test_who_was_not_asked_for_and_cannot_run_the_network_is_left_out(cli, tmp_path):
    graph, inputs = build(Recipe(steps=65, picture=(1, 2, 1)))  # more time steps than the library takes
    export(frozen(graph), "onnx", tmp_path / "out", inputs=inputs)
    shown = cli("verify", tmp_path / "out", "--runtime", "all")
    assert shown.code == 0
    data = cli("verify", tmp_path / "out", "--json").data
    assert list(data["left_out"]) == [*NATIVE, *ONNX_NATIVE]
    for name in data["left_out"]:
        assert f"the runtime {name} was left out: " in shown.err
        every = 3 if name in ONNX_NATIVE else 1  # whose kernels are each asked
        assert cli("verify", tmp_path / "out", "--runtime", name).is_error(3, *["DS2TA-243"] * every)
    assert cli("bisect", tmp_path / "out").code == 0
