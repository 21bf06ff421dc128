import errno

import numpy as np
import pytest
from builders import assert_fires, trace_of
from native_support import Recipe, build
from support import NATIVE, ON_ONNX, assert_all_equal, frozen, names_in

from ds2ta_deploy.cli import run as run_module
from ds2ta_deploy.cli import sources
from ds2ta_deploy.exporting import export
from ds2ta_deploy.graph.populations import population_values


def arrays(path):
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


# --- an artifact -----------------------------------------------------------------------------------------------------


def test_one_line_a_sample_its_number_and_its_class(cli, small_artifact, small_data, small_graph, small_inputs):
    shown = cli("run", small_artifact, "--inputs", small_data)
    decisions = trace_of(small_graph, small_inputs)["head.logits"].argmax(1)
    assert len(set(decisions.tolist())) > 1
    assert (shown.code, shown.err) == (0, "")
    assert shown.out == "".join(f"{number}\t{decision}\n" for number, decision in enumerate(decisions))


@pytest.mark.parametrize("runtime", ["reference", *ON_ONNX])
def test_json_holds_decisions_and_logits(cli, small_artifact, small_data, small_graph, small_inputs, runtime):
    shown = cli("run", small_artifact, "--inputs", small_data, "--runtime", runtime, "--json")
    logits = trace_of(small_graph, small_inputs)["head.logits"]
    assert (shown.code, shown.err) == (0, "")
    assert shown.data == {"runtime": runtime, "decisions": logits.argmax(1).tolist(), "logits": logits.tolist()}


@pytest.mark.parametrize("runtime", ["reference", *ON_ONNX])
@pytest.mark.parametrize("values", ["populations", "all"])
def test_the_trace_is_written_whole(cli, small_artifact, small_data, small_graph, small_inputs, tmp_path, runtime, values):
    arguments = ["--inputs", small_data, "--runtime", runtime, "--values", values, "-o", tmp_path / "trace.npz"]
    shown = cli("run", small_artifact, *arguments)
    wanted = small_graph.observable if values == "all" else population_values(small_graph)
    expected = {name: value for name, value in trace_of(small_graph, small_inputs).items() if name in wanted}
    assert_fires(expected)
    assert_all_equal(expected, arrays(tmp_path / "trace.npz"))
    assert shown.err == f"wrote {tmp_path / 'trace.npz'}: {len(wanted)} values of 5 samples\n"
    assert len(shown.out.splitlines()) == 5
    assert names_in(tmp_path) == ["trace.npz"]


def test_samples_in_several_batches_come_together_in_order(
    cli, small_artifact, small_data, small_graph, small_inputs, tmp_path, monkeypatch
):
    monkeypatch.setattr(sources, "BATCH", 2)
    shown = cli("run", small_artifact, "--inputs", small_data, "--values", "all", "-o", tmp_path / "trace.npz", "--json")
    expected = trace_of(small_graph, small_inputs)
    assert_all_equal(expected, arrays(tmp_path / "trace.npz"))
    assert shown.data["logits"] == expected["head.logits"].tolist()


def test_the_quantized_model_runs_with_its_checkpoint(cli, tiny_artifact, tiny_checkpoint, tiny_data, tiny_graph, tiny_inputs):
    shown = cli("run", tiny_artifact, "--inputs", tiny_data, "--runtime", "torch", "--checkpoint", tiny_checkpoint, "--json")
    assert shown.data["logits"] == trace_of(tiny_graph, tiny_inputs)["head.logits"].tolist()


# --- a checkpoint ----------------------------------------------------------------------------------------------------


def test_a_checkpoint_runs_as_the_float_model(cli, tiny_checkpoint, tiny_data, tiny_model, tiny_inputs):
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
    shown = cli("run", tiny_checkpoint, "--inputs", tiny_data, "--json")
    with torch.inference_mode():
        expected = tiny_model(torch.from_numpy(tiny_inputs.copy())).numpy()
    assert shown.data["runtime"] == "torch-float"
    assert np.array_equal(np.array(shown.data["logits"], np.float32), expected)
    assert shown.data["decisions"] == expected.argmax(1).tolist()


@pytest.mark.parametrize("values", ["populations", "all"])
def test_the_float_trace_has_the_same_names_and_shapes(cli, tiny_checkpoint, tiny_data, tiny_graph, tiny_inputs, tmp_path, values):
    assert cli("run", tiny_checkpoint, "--inputs", tiny_data, "--values", values, "-o", tmp_path / "trace.npz").code == 0
    trace = arrays(tmp_path / "trace.npz")
    integers = trace_of(tiny_graph, tiny_inputs)
    wanted = tiny_graph.observable if values == "all" else population_values(tiny_graph)
    assert {name: value.shape for name, value in trace.items()} == {name: integers[name].shape for name in wanted}
    assert {value.dtype for value in trace.values()} == {np.dtype(np.float32)}
    assert_fires(trace)


def test_a_checkpoint_runs_on_nothing_else(cli, tiny_checkpoint, tiny_data):
    shown = cli("run", tiny_checkpoint, "--inputs", tiny_data, "--runtime", "onnxruntime")
    assert shown.is_error(2, "DS2TA-504")
    assert "export it first" in shown.err
    assert cli("run", tiny_checkpoint, "--inputs", tiny_data, "--runtime", "torch-float").code == 0


def test_an_artifact_does_not_run_as_the_float_model(cli, small_artifact, small_data):
    assert cli("run", small_artifact, "--inputs", small_data, "--runtime", "torch-float").is_error(2, "DS2TA-504")


# --- bad inputs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "code"),
    [
        (np.zeros((2, 7, 5, 2), np.float32), "DS2TA-133"),
        (np.zeros((2, 7, 5, 3), np.uint8), "DS2TA-121"),
        (np.zeros((2, 5, 7, 2), np.uint8), "DS2TA-121"),
        (np.zeros((7, 5, 2), np.uint8), "DS2TA-133"),
    ],
)
def test_inputs_of_the_wrong_shape_or_type(cli, small_artifact, tmp_path, images, code):
    np.savez(tmp_path / "inputs.npz", images=images)
    assert cli("run", small_artifact, "--inputs", tmp_path / "inputs.npz", "-o", tmp_path / "t.npz").is_error(4, code)
    assert names_in(tmp_path) == ["inputs.npz"]


def test_a_checkpoint_takes_no_other_inputs_either(cli, tiny_checkpoint, small_data, tmp_path):
    assert cli("run", tiny_checkpoint, "--inputs", small_data, "-o", tmp_path / "t.npz").is_error(4, "DS2TA-121")
    np.savez(tmp_path / "inputs.npz", frames=np.zeros((4, 2, 12, 10, 1), np.uint8))
    assert cli("run", tiny_checkpoint, "--inputs", tmp_path / "inputs.npz").is_error(4, "DS2TA-121")


def test_no_sample_to_run(cli, small_artifact, tmp_path):
    np.savez(tmp_path / "inputs.npz", images=np.zeros((0, 7, 5, 2), np.uint8))
    assert cli("run", small_artifact, "--inputs", tmp_path / "inputs.npz").is_error(2, "DS2TA-507")


def test_inputs_that_are_not_there(cli, small_artifact, tmp_path):
    assert cli("run", small_artifact, "--inputs", tmp_path / "nothing").is_error(4, "DS2TA-130")
    assert cli("run", small_artifact).code == 2


def test_what_is_neither_artifact_nor_checkpoint(cli, small_data, tmp_path):
    assert cli("run", tmp_path, "--inputs", small_data).is_error(4, "DS2TA-150")
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
    assert cli("run", tmp_path / "nothing", "--inputs", small_data).is_error(4, "DS2TA-101")
    assert cli("run", small_data, "--inputs", small_data).is_error(4, "DS2TA-101")


def test_a_changed_artifact_runs_only_when_that_is_allowed(cli, changeable, small_data):
    (changeable / "report.json").write_text("{}")
    assert cli("run", changeable, "--inputs", small_data).is_error(4, "DS2TA-153")
    assert cli("run", changeable, "--inputs", small_data, "--allow-modified").code == 0


# --- bad outputs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "directory", "dangling link"])
def test_an_output_that_exists_is_left_alone(cli, small_artifact, small_data, tmp_path, kind):
    out = tmp_path / "t.npz"
    match kind:
        case "file":
            out.write_text("precious")
        case "directory":
            out.mkdir()
        case _:
            out.symlink_to(tmp_path / "nowhere")
    assert cli("run", small_artifact, "--inputs", small_data, "-o", out).is_error(2, "DS2TA-501")
    assert names_in(tmp_path) == ["t.npz"]
    assert out.is_symlink() or out.is_dir() or out.read_text() == "precious"


def test_an_output_that_cannot_be_written(cli, small_artifact, small_data, tmp_path):
    shown = cli("run", small_artifact, "--inputs", small_data, "-o", tmp_path / "no" / "t.npz")
    assert shown.is_error(2, "DS2TA-502")
    assert ".partial" not in shown.err
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_or_an_interruption_leaves_nothing(cli, small_artifact, small_data, tmp_path, monkeypatch, error):
    def savez(file, **_arrays):
        file.write(b"half of it")
        raise error

    monkeypatch.setattr(np, "savez_compressed", savez)
    shown = cli("run", small_artifact, "--inputs", small_data, "-o", tmp_path / "t.npz")
    assert shown.code == (2 if isinstance(error, OSError) else 130)
    assert shown.out == ""
    assert names_in(tmp_path) == []
    assert run_module.command.name == "run"


@pytest.mark.skipif(not NATIVE, reason="the native library was not built: there is no C compiler")
@pytest.mark.parametrize(("variable", "said"), [("DS2TA_ISA", "sse2"), ("DS2TA_THREADS", "many")])
def test_settings_of_the_native_runtime_that_cannot_be(cli, small_artifact, small_data, monkeypatch, variable, said):
    monkeypatch.setenv(variable, said)
    shown = cli("run", small_artifact, "--inputs", small_data, "--runtime", "native")
    assert shown.is_error(2, "DS2TA-513")
    assert variable in shown.err


def test_the_native_runtime_where_it_was_not_built(cli, small_artifact, small_data, monkeypatch):
    from ds2ta_deploy.runtimes.native import library

    library.load.cache_clear()
    monkeypatch.setattr(library, "library_path", lambda: None)
    shown = cli("run", small_artifact, "--inputs", small_data, "--runtime", "native")
    assert shown.is_error(5, "DS2TA-405")
    assert "pip install" in shown.err


@pytest.mark.skipif(not NATIVE, reason="the native library was not built: there is no C compiler")
def test_a_network_that_the_native_runtime_cannot_run(cli, tmp_path):
    graph, inputs = build(Recipe(steps=65, picture=(1, 2, 1)))  # more time steps than the library takes
    export(frozen(graph), "onnx", tmp_path / "counts", inputs=inputs, runtimes="onnxruntime")
    np.savez(tmp_path / "inputs.npz", images=inputs)
    shown = cli("run", tmp_path / "counts", "--inputs", tmp_path / "inputs.npz", "--runtime", "native")
    assert shown.is_error(3, "DS2TA-243")
