import dataclasses
import os
import re

import numpy as np
import pytest
import stream_graph as streams
from builders import assert_fires, build_small_graph, pixels_for, small_inputs, trace_of
from c_support import COMPILERS, STRICT, different
from family_configs import CONFIGS
from support import copy_artifact, frozen, rewrite, spiking_chain

from ds2ta_deploy.artifact import Artifact
from ds2ta_deploy.bisection.search import bisect
from ds2ta_deploy.errors import InputError, MissingRuntimeError, RuntimeFailedError, UsageError
from ds2ta_deploy.exporting import export
from ds2ta_deploy.runtimes.c_program import CRuntime, find_compiler
from ds2ta_deploy.runtimes.table import RUNTIMES, open_runtime
from ds2ta_deploy.verification import verify


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return the directory of an artifact. Shared: copy before changing it."""
    return export(frozen(build_small_graph()), "c", tmp_path_factory.mktemp("c") / "out", inputs=small_inputs()).path


@pytest.fixture
def changeable(exported, tmp_path):
    return copy_artifact(exported, tmp_path / "out")


# --- the same integers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize("build", [build_small_graph, streams.build_stream_graph])
def test_every_value_of_every_op(build, still):
    graph, inputs = build(still=still), small_inputs(still=still)
    assert_fires(trace_of(graph, inputs))
    assert not different(graph, inputs)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_family(family_graphs, name):
    graph, inputs = family_graphs[name], pixels_for(CONFIGS[name], 3, 5)
    assert_fires(trace_of(graph, inputs))
    assert not different(graph, inputs, (*STRICT, "-O0"))


@pytest.mark.parametrize(
    ("steps", "window"), [(1, (3, 1, 2)), (4, (1, 0, 0)), (4, (2, 8, 0)), (10, (4, 2, 6)), (17, (20, 1, 3)), (17, (17, 8, 0))]
)
def test_any_number_of_steps_and_windows_beyond_it(steps, window):
    graph, inputs = spiking_chain(steps, window=window, leak=(3, 2))
    assert not different(graph, inputs)


def test_a_sample_does_not_remember_the_one_before(small_graph, small_inputs):
    runtime = CRuntime(small_graph)
    together = runtime.trace(small_inputs, small_graph.observable)
    for sample in reversed(range(len(small_inputs))):
        alone = runtime.trace(small_inputs[sample : sample + 1], small_graph.observable)
        for name, array in alone.items():
            axis = small_graph.types[name].shape.index(None)
            assert np.array_equal(array, together[name].take([sample], axis))


def test_only_what_is_wanted_and_always_the_logits(small_graph, small_inputs):
    runtime = CRuntime(small_graph)
    assert set(runtime.trace(small_inputs, ["blocks.0.attn.scores"])) == {"blocks.0.attn.scores", "head.logits"}
    assert runtime.trace(small_inputs[:0], [])["head.logits"].shape == (0, 3)
    with pytest.raises(UsageError, match="DS2TA-505"):
        runtime.trace(small_inputs, ["nothing"])
    with pytest.raises(InputError, match="DS2TA-120"):
        runtime.trace(small_inputs.astype(np.int64), [])


# --- an artifact -----------------------------------------------------------------------------------------------------


def test_an_export_is_verified_with_it(exported):
    artifact = Artifact.open(exported)
    assert [(entry.runtime, entry.different) for entry in artifact.manifest.parity] == [("c", 0)]
    report = artifact.read("report.json").decode()
    assert re.search(r'"rom_bytes": \d+', report)
    assert verify(artifact, ["c"], values="all").passed


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("model.c", b"state->summed++;", b"state->summed++; state->summed--; state->summed++;"),
        ("model.h", b"#include <stdint.h>", b"#include <stdint.h>\n#include <stdlib.h>"),
        ("ds2ta_kernels.c", b"spikes[i] = 1u;", b"spikes[i] = 0u;"),
        ("model_data.c", b"const int16_t table_0[", b"int main(void);\nconst int16_t table_0["),
        ("model_data.c", b"= {\n    ", b"= {\n    sizeof(int), "),
        ("model_data.c", b"= {\n    ", b"= {\n    1, "),
        ("model_data.c", b",\n};", b",\n    1};"),
        ("model_data.h", b"[", b"[1 + "),
    ],
)
def test_code_that_is_not_ours_is_not_compiled(changeable, monkeypatch, name, old, new):
    """Whatever the manifest says of it: the hashes are made to fit."""
    data = (changeable / "c" / name).read_bytes()
    assert old in data
    rewrite(changeable, f"c/{name}", data.replace(old, new, 1), rehash=True)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("something was started"))
    with pytest.raises(InputError, match=f"DS2TA-166 .*{re.escape(name)}"):
        open_runtime("c", Artifact.open(changeable))


def test_a_constant_that_was_changed_is_found(changeable):
    """Numbers run nothing; a fault in one is what verification and bisect are for."""
    data = (changeable / "c" / "model_data.c").read_text()
    found = re.search(r"/\* patch\.position\.weights \*/\nconst int8_t \w+\[\d+\] = \{\n +(-?\d+)", data)
    rewrite(changeable, "c/model_data.c", f"{data[: found.start(1)]}{int(found[1]) - 1}{data[found.end(1) :]}".encode())
    with pytest.raises(InputError, match="DS2TA-153"):
        Artifact.open(changeable)
    artifact = Artifact.open(changeable, allow_modified=True)
    report = verify(artifact, ["c"])
    assert not report.passed
    assert report.results[0].first.value == "patch.position.product"
    result = bisect(artifact, "c")
    assert result is not None


def test_another_targets_artifact_has_no_c_code(small_graph, small_inputs, tmp_path):
    artifact = export(frozen(small_graph), "onnx", tmp_path / "out", inputs=small_inputs)
    with pytest.raises(InputError, match="DS2TA-152"):
        open_runtime("c", artifact)


# --- compilers -------------------------------------------------------------------------------------------------------


def test_without_a_compiler_it_says_the_one_command(exported, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    assert find_compiler() is None
    assert not RUNTIMES["c"].available
    with pytest.raises(MissingRuntimeError, match=r"DS2TA-406.*apt-get install gcc") as caught:
        open_runtime("c", Artifact.open(exported))
    assert caught.value.exit_code == 5


def test_a_compiler_may_be_named(monkeypatch):
    for compiler in COMPILERS:
        monkeypatch.setenv("CC", compiler)
        assert os.path.basename(find_compiler()) == compiler  # noqa: PTH119 - a name, not a path


def test_a_compiler_that_fails_is_told_of(small_graph, monkeypatch, tmp_path):
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'fatal error: no space left' >&2\nexit 4\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    with pytest.raises(RuntimeFailedError, match=r"DS2TA-605.*no space left"):
        CRuntime(small_graph)
    broken.write_text("not a program")
    with pytest.raises(MissingRuntimeError, match=r"DS2TA-406.*cannot be started"):
        CRuntime(small_graph)


def test_nothing_stays_on_the_disk(small_graph, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    CRuntime(dataclasses.replace(small_graph))
    assert list(tmp_path.iterdir()) == []
