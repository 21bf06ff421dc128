"""The target lava from the command line."""

import importlib.util
import json
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from lava_support import needs_lava, worker_of
from support import copy_artifact, frozen, user_program

from ds2ta_deploy import lava_setup
from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.cli.main import group, run
from ds2ta_deploy.exporting import export


@pytest.fixture(scope="module")
def lava_artifact(small_graph, small_inputs, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("lava") / "out"
    export(frozen(small_graph), "lava", out, inputs=small_inputs, runtimes="lava-stepper")
    return out


RUNTIMES = ["lava-stepper", pytest.param("lava", marks=needs_lava)]


@needs_lava
def test_an_export_is_compared_on_lava_and_on_the_stepper(cli, tiny_checkpoint, tiny_data, tmp_path):
    shown = cli("export", tiny_checkpoint, "--target", "lava", "--inputs", tiny_data, "-o", tmp_path / "out")
    assert shown.code == 0, shown.err
    manifest = Artifact.open(tmp_path / "out").manifest
    assert {entry.runtime: entry.different for entry in manifest.parity} == {"reference": 0, "lava": 0, "lava-stepper": 0}
    assert (manifest.target, manifest.quantization["profile"]) == ("lava", "loihi")
    assert cli("verify", tmp_path / "out").code == 0


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_verify(cli, lava_artifact, runtime):
    report = cli("verify", lava_artifact, "--runtime", runtime, "--values", "all", "--json").data
    assert report["passed"]
    assert {entry["runtime"]: entry["different"] for entry in report["runtimes"]} == {runtime: 0, "golden": 0}
    assert all(0.005 < rate < 0.95 for rate in report["firing_rates"].values())


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_one_unit_in_one_tensor_is_found_and_placed(cli, lava_artifact, small_graph, small_inputs, tmp_path, runtime):
    out = copy_artifact(lava_artifact, tmp_path / "out")
    with np.load(out / "lava" / "tensors.npz") as file:
        tensors = dict(file)
    name, channel, where = first_tie(small_graph, small_inputs)
    tensors[f"{name}/threshold"] = tensors[f"{name}/threshold"].copy()
    tensors[f"{name}/threshold"][channel] += 1
    np.savez(out / "lava" / "tensors.npz", **tensors)
    assert cli("verify", out, "--runtime", runtime).is_error(4, "DS2TA-153")
    shown = cli("verify", out, "--runtime", runtime, "--allow-modified")
    assert shown.code == 1
    (line,) = [line for line in shown.err.splitlines() if line.startswith("error ")]
    sample, step, *index = where
    assert line.startswith(f"error DS2TA-301 [{name}.spikes]: {runtime} computes 0 where reference has 1 ")
    assert f"(sample {sample}, time step {step}, index {index})" in line


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_one_unit_in_a_weight_that_changes_no_spike_is_found_too(cli, lava_artifact, tmp_path, runtime):
    """With modified files every value is compared, products included."""
    out = copy_artifact(lava_artifact, tmp_path / "out")
    with np.load(out / "lava" / "tensors.npz") as file:
        tensors = dict(file)
    weight = tensors["blocks.0.mlp.fc2.weights/weight"]
    weight[0, 0] += 1 if weight[0, 0] < 0 else -1
    np.savez(out / "lava" / "tensors.npz", **tensors)
    shown = cli("verify", out, "--runtime", runtime, "--allow-modified")
    assert shown.code == 1
    assert f"error DS2TA-301 [blocks.0.mlp.fc2.product]: {runtime} computes " in shown.err


@needs_lava
def test_ctrl_c_ends_lava_too(lava_artifact, small_inputs, leftovers, tmp_path):
    np.savez(tmp_path / "many.npz", images=np.repeat(small_inputs, 4000, axis=0))
    arguments = ["run", lava_artifact, "--runtime", "lava", "--inputs", tmp_path / "many.npz", "-o", tmp_path / "trace.npz"]
    with user_program(sys.executable, "-m", "ds2ta_deploy.cli.main", *arguments) as user:
        worker_of(leftovers.folder)
        user.send_signal(signal.SIGINT)
        _, said = user.communicate(timeout=60)
        assert user.returncode == 130
    assert said.strip().splitlines()[-1] == "interrupted; nothing half-written is left behind"
    assert not (tmp_path / "trace.npz").exists()


def first_tie(graph, inputs):
    """Return a neuron, a channel, and the (sample, step, …) where its membrane first meets its threshold exactly."""
    values = {}
    graph.execute(inputs, values.__setitem__)
    neurons = {op.name: op for op in graph if type(op).__name__ == "Lif"}
    for name in ("blocks.0.attn", *neurons):
        equal = values[f"{name}.membrane"] == neurons[name].threshold
        order = (1, 0, *range(2, equal.ndim))
        for place in np.argwhere(equal.transpose(order)):
            return name, int(place[-1]), tuple(int(position) for position in place)
    raise AssertionError("no membrane meets its threshold")


def test_run_and_eval_use_the_targets_runtime(cli, lava_artifact, small_data):
    assert cli("run", lava_artifact, "--inputs", small_data, "--json").data["runtime"] == "lava-stepper"
    assert cli("eval", lava_artifact, "--data", small_data, "--json").data["top1_percent"] == 60


def test_what_does_not_fit_24_bits_is_refused(cli, tmp_path):
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
    from builders import tiny_config

    from ds2ta_deploy.checkpoints import save_checkpoint
    from ds2ta_deploy.models.calibration import random_network

    config = tiny_config(image_height=64, image_width=64, pool_stages="1100", time_steps=64)
    model = random_network(tiny_config(time_steps=4), seed=1)
    model.config = config
    save_checkpoint(model, tmp_path / "c.safetensors")
    shown = cli("export", tmp_path / "c.safetensors", "--target", "lava", "--profile", "cpu", "-o", tmp_path / "out")
    assert shown.code == 3
    assert "error DS2TA-220 [head.logits]: can reach" in shown.err
    assert "(freeze it under the profile loihi)" in shown.err
    assert not (tmp_path / "out").exists()


def test_inline_means_nothing_to_lava(cli, tiny_checkpoint, tmp_path):
    arguments = ["--target", "lava", "--inline", "--runtime", "lava-stepper", "-o", tmp_path / "out"]
    assert cli("export", tiny_checkpoint, *arguments).is_error(2, "DS2TA-511")


# --- Lava's own processes --------------------------------------------------------------------------------------------

STOCK = ("--target", "lava", "--lowering", "stock", "--thresholds", "layer")
LOWERED = ["blocks.0.mlp.fc1", "blocks.0.mlp.fc2"]


@pytest.fixture(scope="module")
def stock_artifact(tiny_checkpoint, tiny_data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("stock") / "out"
    arguments = ["export", tiny_checkpoint, *STOCK, "--inputs", tiny_data, "--runtime", "lava-stepper", "-o", out]
    assert run(group, [str(argument) for argument in arguments], "ds2ta") == 0
    return out


@needs_lava
def test_populations_on_lavas_own_processes_are_compared_and_the_others_say_why(cli, tiny_checkpoint, tiny_data, tmp_path):
    shown = cli("export", tiny_checkpoint, *STOCK, "--inputs", tiny_data, "-o", tmp_path / "out")
    assert shown.code == 0, shown.err
    assert f"2 of 12 populations run on Lava's own processes: {', '.join(LOWERED)}" in shown.err
    assert "blocks.0.attn does not: it multiplies two activations, and stock synapses hold weights" in shown.err
    artifact = Artifact.open(tmp_path / "out")
    assert {entry.runtime: entry.different for entry in artifact.manifest.parity} == {"reference": 0, "lava": 0, "lava-stepper": 0}
    assert (artifact.manifest.quantization["thresholds"], artifact.graph.facts["thresholds"]) == ("layer", "layer")
    processes = json.loads(artifact.read("lava/graph.json"))["processes"]
    assert [entry["name"] for entry in processes if entry["lowering"] == "stock"] == LOWERED
    assert sum(entry["why_not"] is not None for entry in processes) == 10


def test_the_lowering_as_json(cli, tiny_checkpoint, tiny_data, tmp_path):
    arguments = (*STOCK, "--inputs", tiny_data, "--runtime", "lava-stepper", "-o", tmp_path / "out", "--json")
    told = cli("export", tiny_checkpoint, *arguments).data["lowering"]
    assert told["stock"] == LOWERED
    assert len(told["why_not"]) == 10


@needs_lava
def test_a_comparison_of_all_values_leaves_out_what_lavas_own_processes_hold(cli, stock_artifact):
    report = cli("verify", stock_artifact, "--values", "all", "--json").data
    assert report["passed"]
    values = {entry["runtime"]: entry["values"] for entry in report["runtimes"]}
    assert values["lava"] == values["lava-stepper"] - 3 * len(LOWERED)


def test_what_lavas_own_processes_hold_cannot_be_asked_of_them(cli, stock_artifact, tiny_data, tmp_path):
    arguments = ["run", stock_artifact, "--inputs", tiny_data, "--values", "all", "-o", tmp_path / "trace.npz"]
    assert cli(*arguments, "--runtime", "lava", "--lava-python", sys.executable).is_error(2, *["DS2TA-512"] * 6)
    assert cli(*arguments).code == 0


def test_nothing_to_lower_is_refused_with_every_reason(cli, tiny_checkpoint, tiny_data, tmp_path):
    arguments = ("--target", "lava", "--lowering", "stock", "--inputs", tiny_data, "--runtime", "lava-stepper", "-o", tmp_path / "out")
    shown = cli("export", tiny_checkpoint, *arguments)
    assert shown.is_error(3, *["DS2TA-242"] * 12)
    assert "[blocks.0.mlp.fc2]: does not run on Lava's own processes: its channels have" in shown.err
    assert not (tmp_path / "out").exists()


def test_only_lava_has_a_lowering(cli, tiny_checkpoint, tmp_path):
    assert cli("export", tiny_checkpoint, "--lowering", "stock", "-o", tmp_path / "out").is_error(2, "DS2TA-511")


def test_without_lava_the_command_is_said(cli, lava_artifact, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None if name == "lava" else find(name, package))
    shown = cli("verify", lava_artifact, "--runtime", "lava")
    assert shown.is_error(5, "DS2TA-401")
    assert "(ds2ta lava install)" in shown.err


def test_an_artifact_for_another_target(cli, small_artifact):
    assert cli("verify", small_artifact, "--runtime", "lava-stepper").is_error(4, "DS2TA-152")


def test_lava_python_is_for_artifacts(cli, tiny_checkpoint, tiny_data):
    assert cli("run", tiny_checkpoint, "--inputs", tiny_data, "--lava-python", sys.executable).is_error(2, "DS2TA-504")


# --- install and doctor ----------------------------------------------------------------------------------------------


@pytest.fixture
def commands(monkeypatch):
    """Collect what would be run."""
    collected = []
    monkeypatch.setattr(lava_setup, "_run", lambda *command: collected.append(command))
    monkeypatch.setattr(lava_setup, "try_out", lambda python=None: collected.append(("try out", python)))
    return collected


def test_install_pins_lava_and_ignores_its_python_for_it_alone(cli, commands):
    assert cli("lava", "install", "--python", "elsewhere/python").code == 0
    needs, lava, tests, tried = commands
    assert needs[:4] == ("elsewhere/python", "-m", "pip", "install")
    assert "--ignore-requires-python" not in needs
    assert set(lava_setup.NEEDS) < set(needs)
    assert lava[-3:] == ("--ignore-requires-python", "--no-deps", "lava-nc==0.10.0")
    assert "tests" in tests[-1]
    assert tried == ("try out", Path("elsewhere/python"))


def test_an_installation_that_fails_says_why(cli, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'No module named pip' >&2\nexit 1\n")
    python.chmod(0o755)
    shown = cli("lava", "install", "--python", python)
    assert shown.is_error(5, "DS2TA-404")
    assert "No module named pip" in shown.err
    assert cli("lava", "install", "--python", tmp_path / "none").is_error(5, "DS2TA-404")


@needs_lava
def test_the_small_network_runs():
    lava_setup.try_out()
    assert lava_setup.status() == ("0.10.0", "ok")


def test_doctor_says_what_is_wrong_with_lava(cli, monkeypatch):
    monkeypatch.setattr(lava_setup, "find_spec", lambda name: None)
    shown = json.loads(cli("doctor", "--json").out)
    assert shown["lava"] == {"version": None, "works": False, "remark": "optional: ds2ta lava install"}
    assert cli("doctor").code == 0


def test_the_smallest_network_fires():
    graph = lava_setup._smallest_network()
    values = {}
    graph.execute(np.random.default_rng(0).integers(0, 256, (2, 4, 4, 1), dtype=np.uint8), values.__setitem__)
    for name in ("first.spikes", "second.spikes"):
        assert 0.005 < values[name].mean() < 0.95
