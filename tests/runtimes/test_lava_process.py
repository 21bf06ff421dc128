"""The runtimes of a Lava artifact: equal where they agree, and clear about how they ended where they do not."""

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from builders import build_small_graph, small_inputs
from lava_support import needs_lava, worker_of, write_export
from support import assert_all_equal, frozen, user_program

from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.errors import InputError, MissingRuntimeError, RuntimeFailedError, UsageError
from ds2ta_deploy.exporting import export
from ds2ta_deploy.runtimes.lava_process import LavaRuntime, LavaStepperRuntime
from ds2ta_deploy.runtimes.reference import ReferenceRuntime
from ds2ta_deploy.runtimes.table import open_runtime

ENGINES = [LavaStepperRuntime, pytest.param(LavaRuntime, marks=needs_lava)]


@pytest.fixture(scope="module")
def graph():
    return build_small_graph()


@pytest.fixture
def directory(graph, tmp_path):
    return write_export(graph, tmp_path / "export")


def change(directory: Path, name: str, value: int) -> None:
    """Fill a tensor of an export."""
    with np.load(directory / "tensors.npz") as file:
        tensors = dict(file)
    tensors[name] = np.full_like(tensors[name], value)
    np.savez(directory / "tensors.npz", **tensors)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("still", [True, False], ids=["images", "frames"])
def test_every_value_in_every_step_is_the_references(engine, still, tmp_path, leftovers):
    graph, inputs = build_small_graph(still=still), small_inputs(still=still)
    runtime = engine(write_export(graph, tmp_path / "export"), graph)
    assert_all_equal(ReferenceRuntime(graph).trace(inputs, graph.observable), runtime.trace(inputs, graph.observable))
    assert sorted(path.name for path in (tmp_path / "export" / "lava").rglob("__pycache__")) == []


@needs_lava
def test_samples_do_not_remember_each_other(graph, directory):
    """Five samples in a row through one network are five samples through five networks."""
    inputs, wanted = small_inputs(), ["blocks.0.mlp.fc2.spikes", "head.logits"]
    runtime = LavaRuntime(directory, graph)
    together, alone = runtime.trace(inputs, wanted), runtime.trace(inputs[3:4], wanted)
    assert (together["head.logits"][3:4] == alone["head.logits"]).all()
    assert (together["blocks.0.mlp.fc2.spikes"][:, 3:4] == alone["blocks.0.mlp.fc2.spikes"]).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_process_that_raises_is_named_with_its_step_and_reason(engine, graph, directory, leftovers):
    change(directory, "blocks.0.mlp.fc1.window/bias", 2**23)
    with pytest.raises(RuntimeFailedError, match=r"DS2TA-601 .*StateOverflowError: blocks\.0\.mlp\.fc1\.current") as caught:
        engine(directory, graph).trace(small_inputs(), ())
    if engine is LavaRuntime:
        assert "in the process that sends blocks.0.mlp.fc1.spikes, Lava step 1" in str(caught.value)
        assert "Traceback" in caught.value.__notes__[0]


def interfere(folder: Path, choose) -> threading.Thread:
    """Kill one of the processes as soon as the network runs."""
    thread = threading.Thread(target=lambda: os.kill(choose(worker_of(folder)), signal.SIGKILL))
    thread.start()
    return thread


@needs_lava
@pytest.mark.parametrize("which", [0, 3, -1], ids=["worker", "one of its processes", "the last of its processes"])
def test_a_killed_process_ends_the_run(which, graph, directory, leftovers):
    many = np.repeat(small_inputs(), 400, axis=0)
    thread = interfere(leftovers.folder, lambda processes: processes[which])
    with pytest.raises(RuntimeFailedError, match=r"DS2TA-602 \[lava\]: .*exit code -9"):
        LavaRuntime(directory, graph).trace(many, ())
    thread.join()


@needs_lava
def test_a_run_that_takes_too_long_is_given_up(graph, directory, leftovers):
    many = np.repeat(small_inputs(), 4000, axis=0)
    with pytest.raises(RuntimeFailedError, match=r"DS2TA-603 \[lava\]: .*within 2 seconds"):
        LavaRuntime(directory, graph, deadline=2.0).trace(many, ())


RUN = """
import sys
import numpy as np
sys.path.insert(0, {tests!r})
from pathlib import Path
from builders import build_small_graph, small_inputs
from ds2ta_deploy.runtimes.lava_process import LavaRuntime
LavaRuntime(Path({directory!r}), build_small_graph()).trace(np.repeat(small_inputs(), 4000, axis=0), ())
"""


@needs_lava
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_and_a_killed_user_program_leave_nothing(number, directory, leftovers):
    program = RUN.format(tests=str(Path(__file__).parents[1]), directory=str(directory))
    with user_program(sys.executable, "-c", program) as user:
        worker_of(leftovers.folder)
        user.send_signal(number)
        _, said = user.communicate(timeout=60)
        assert user.returncode == -number
    if number == signal.SIGINT:
        assert said.splitlines()[-1].startswith("KeyboardInterrupt")
    for folder in leftovers.folder.glob("ds2ta-lava-*"):
        wait_until_gone(folder, but_inputs=number == signal.SIGKILL)


def wait_until_gone(folder: Path, *, but_inputs: bool) -> None:
    """Wait for a folder to go; a program that was killed cannot take its own inputs away, so do it for it."""
    end = time.monotonic() + 10
    while folder.exists() and time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError):  # the worker may be taking it away at this very moment
            if but_inputs and {path.name for path in folder.iterdir()} <= {"inputs.npz", "errors"}:
                for path in folder.iterdir():
                    path.unlink()
                folder.rmdir()
        time.sleep(0.05)


def test_an_interpreter_without_lava_is_said_with_the_command(graph, directory, tmp_path, monkeypatch):
    (tmp_path / "path" / "lava").mkdir(parents=True)
    (tmp_path / "path" / "lava" / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'lava'\")")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    with pytest.raises(MissingRuntimeError, match=r"DS2TA-403 .*No module named 'lava' \(ds2ta lava install\)"):
        LavaRuntime(directory, graph).trace(small_inputs(), ())


def test_an_interpreter_that_does_not_exist(graph, directory, tmp_path):
    with pytest.raises(MissingRuntimeError, match=r"DS2TA-403 .*cannot be started: No such file"):
        LavaStepperRuntime(directory, graph, tmp_path / "python").trace(small_inputs(), ())


def test_an_interpreter_is_found_where_the_user_stands(graph, directory, tmp_path, monkeypatch):
    """The exported package runs in its own directory; a path that the user gives begins in his."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tmp_path / "bin" / "python").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    found = LavaStepperRuntime(directory, graph, Path("bin/python")).trace(small_inputs(), ())
    assert_all_equal(found, ReferenceRuntime(graph).trace(small_inputs(), ()))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    by_name = LavaStepperRuntime(directory, graph, Path("python")).trace(small_inputs(), ())
    assert_all_equal(found, by_name)


def test_files_that_hold_no_network(graph, directory):
    (directory / "tensors.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="DS2TA-163"):
        LavaStepperRuntime(directory, graph).trace(small_inputs(), ())


def test_what_is_wanted_must_exist(graph, directory):
    with pytest.raises(UsageError, match=r"DS2TA-505 \[nothing\]"):
        LavaStepperRuntime(directory, graph).trace(small_inputs(), ["nothing"])
    with pytest.raises(InputError, match="DS2TA-120"):
        LavaStepperRuntime(directory, graph).trace(small_inputs().astype(np.int32), ())


@pytest.mark.parametrize("damage", ["changed", "added", "removed"])
def test_an_artifacts_own_python_runs_only_if_it_is_ours(graph, tmp_path, damage):
    export(frozen(graph), "lava", tmp_path / "out", inputs=small_inputs(), runtimes="lava-stepper")
    package = tmp_path / "out" / "lava" / "ds2ta_lava"
    if damage == "changed":
        (package / "stepper.py").write_text("import os")
    if damage == "added":
        (package.parent / "numpy.py").write_text("import os")
    if damage == "removed":
        (package / "shim.py").unlink()
        manifest = tmp_path / "out" / "manifest.json"
        manifest.write_text(manifest.read_text().replace("lava/ds2ta_lava/shim.py", "lava/graph.json"))
    with pytest.raises(InputError, match="DS2TA-162") as caught:
        open_runtime("lava-stepper", Artifact.open(tmp_path / "out", allow_modified=True))
    assert len(caught.value.problems) == 1
