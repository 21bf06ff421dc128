import subprocess
import sys

import numpy as np
import pytest
from builders import STEPS, trace_of
from support import names_in

from ds2ta_deploy.cli import jobs

#: What is given to each command.
COMMANDS = {
    "eval": ["eval", "{artifact}", "--data", "{data}", "--runtime", "reference"],
    "verify": ["verify", "{artifact}", "--inputs", "{data}", "--runtime", "onnxruntime", "--values", "all"],
}


@pytest.fixture
def many_samples(tmp_path):
    """Return labelled inputs of several shards."""
    images = np.random.default_rng(1).integers(0, 256, (23, 7, 5, 2), dtype=np.uint8)
    path = tmp_path / "data.npz"
    np.savez(path, images=images, labels=np.arange(23) % 3)
    return path


@pytest.fixture
def small_shards(monkeypatch):
    """Cut everything into shards of four."""
    for job in (jobs.EvalJob, jobs.VerifyJob, jobs.AnalyzeJob):
        monkeypatch.setattr(job, "shard_samples", 4)


@pytest.fixture(scope="module")
def scheduler():
    """Return the address of a scheduler with two workers."""
    pytest.importorskip("distributed", reason="needs dask: pip install 'ds2ta-deploy[cluster]'")
    from ds2ta_deploy.sharding.cluster import Cluster

    with Cluster("local", 2) as cluster:
        cluster.client.wait_for_workers(2)
        yield cluster.client.scheduler.address


def arguments(name, artifact, data):
    return [part.format(artifact=artifact, data=data) for part in COMMANDS[name]] + ["--json"]


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.usefixtures("small_shards")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_same_bytes_here_on_two_workers_and_from_what_was_kept(cli, name, small_artifact, many_samples, scheduler, tmp_path):
    line = arguments(name, small_artifact, many_samples)
    here = cli(*line)
    assert (here.code, here.err) == (0, "")
    there = cli(*line, "--scheduler", scheduler, "--resume", tmp_path / "kept")
    assert (there.code, there.err, there.out) == (0, "", here.out)
    assert len(names_in(tmp_path / "kept")) == 6
    again = cli(*line, "--resume", tmp_path / "kept")
    assert (again.code, again.err, again.out) == (0, "", here.out)


@pytest.mark.slow
@pytest.mark.usefixtures("small_shards")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_analyze_gives_the_same_bytes_too(cli, tiny_checkpoint, tiny_config, scheduler, tmp_path):
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
    from builders import pixels_for

    np.savez(tmp_path / "data.npz", images=pixels_for(tiny_config, 9, 3), labels=np.arange(9) % 5)
    line = ["analyze", tiny_checkpoint, "--data", tmp_path / "data.npz", "--weight-bits", 4, "--json"]
    here, there = cli(*line), cli(*line, "--scheduler", scheduler)
    assert (here.code, here.err, there.code, there.err) == (0, "", 0, "")
    assert there.out == here.out
    assert here.data["samples"] == 9


@pytest.mark.usefixtures("small_shards")
def test_verified_shards_add_up(cli, small_artifact, small_graph, many_samples):
    data = cli(*arguments("verify", small_artifact, many_samples)).data
    trace = trace_of(small_graph, np.load(many_samples)["images"])
    assert data["samples"] == 23
    assert [(result["values"], result["integers"], result["different"]) for result in data["runtimes"]] == [
        (len(trace), sum(value.size for value in trace.values()), 0)
    ] * 2  # the file, and the file of the step form
    assert data["firing_rates"] == {name: value.sum() / value.size for name, value in trace.items() if name.endswith(".spikes")}
    assert trace["patch.position.spikes"].shape[:2] == (STEPS, 23)


def test_one_shard_has_the_hashes_that_are_recorded(cli, small_artifact, small_data):
    recorded = cli("verify", small_artifact, "--runtime", "onnxruntime", "--json").data["hashes"]
    given = cli("verify", small_artifact, "--runtime", "onnxruntime", "--inputs", small_data, "--json").data["hashes"]
    assert given == recorded


@pytest.mark.usefixtures("small_shards")
def test_a_difference_has_the_number_of_its_sample_among_all(cli, changeable, many_samples, monkeypatch):
    from support import Tampered

    from ds2ta_deploy import verification

    honest = verification.open_runtime

    def opened(name, *given, **options):
        runtime = honest(name, *given, **options)
        return Tampered(runtime, "head.logits", (2, 1)) if name == "onnxruntime" else runtime

    monkeypatch.setattr(verification, "open_runtime", opened)
    shown = cli("verify", changeable, "--inputs", many_samples, "--runtime", "onnxruntime")
    assert shown.code == 1
    assert "sample 2, index [1]" in shown.err


def test_a_stale_shard_is_never_used(cli, small_artifact, small_graph, small_data, tmp_path):
    line = ["eval", small_artifact, "--runtime", "reference", "--resume", tmp_path / "kept", "--json"]
    assert cli(*line, "--data", small_data).data["correct"] == 3
    arrays = dict(np.load(small_data))
    arrays["labels"] = small_graph.execute(arrays["images"]).argmax(1)
    np.savez(tmp_path / "right.npz", **arrays)
    assert cli(*line, "--data", tmp_path / "right.npz").data["correct"] == 5
    assert len(names_in(tmp_path / "kept")) == 2


def test_wrong_use(cli, small_artifact, small_data, tmp_path):
    line = ["eval", small_artifact, "--data", small_data]
    assert cli(*line, "--workers", 2).code == 2
    assert "--scheduler local" in cli(*line, "--workers", 2).err
    (tmp_path / "file").write_text("")
    assert cli(*line, "--resume", tmp_path / "file" / "kept").is_error(2, "DS2TA-502")


def test_without_a_scheduler_nothing_of_dask_is_imported(small_artifact, small_data):
    program = f"""
import sys
from ds2ta_deploy.cli.main import group, run
code = run(group, ["eval", {str(small_artifact)!r}, "--data", {str(small_data)!r}, "--runtime", "reference"], "ds2ta")
print("LOADED", code, sorted({{"dask", "distributed", "tornado"}} & {{name.split(".")[0] for name in sys.modules}}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED 0 []"


def test_without_dask_the_command_that_installs_it(cli, small_artifact, small_data, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in ("dask", "distributed") else find(name))
    shown = cli("eval", small_artifact, "--data", small_data, "--scheduler", "local")
    assert shown.is_error(5, "DS2TA-410")
    assert "pip install 'ds2ta-deploy[cluster]'" in shown.err
