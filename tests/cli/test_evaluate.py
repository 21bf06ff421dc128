import gzip
import struct

import numpy as np
import pytest
from builders import trace_of
from support import ON_ONNX


def write_idx(path, array):
    """Write one idx file of bytes, compressed when its name says so."""
    data = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def test_top_1_is_the_share_of_right_decisions(cli, small_artifact, small_data):
    shown = cli("eval", small_artifact, "--data", small_data)  # right on three of five, by the labels' making
    assert (shown.code, shown.err) == (0, "")
    assert shown.out == "top-1 60.00 % (3 of 5 samples, onnxruntime)\n"


@pytest.mark.parametrize("runtime", ["reference", *ON_ONNX])
def test_json(cli, small_artifact, small_data, runtime):
    shown = cli("eval", small_artifact, "--data", small_data, "--runtime", runtime, "--json")
    assert (shown.code, shown.err) == (0, "")
    assert shown.data == {"runtime": runtime, "samples": 5, "correct": 3, "top1_percent": 60.0}


def test_several_batches_are_counted_together(cli, small_artifact, small_graph, tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (150, 7, 5, 2), dtype=np.uint8)
    labels = np.random.default_rng(2).integers(0, 3, 150)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    right = int((small_graph.execute(images).argmax(1) == labels).sum())
    assert 0 < right < 150
    assert cli("eval", small_artifact, "--data", tmp_path / "data.npz", "--json").data["correct"] == right


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_directory_of_idx_files_is_a_test_set(cli, tiny_artifact, tiny_graph, tiny_inputs, tmp_path, suffix):
    decisions = trace_of(tiny_graph, tiny_inputs)["head.logits"].argmax(1)
    labels = decisions.astype(np.uint8)
    labels[1] = (labels[1] + 1) % 5
    write_idx(tmp_path / f"t10k-images-idx3-ubyte{suffix}", tiny_inputs[..., 0])
    write_idx(tmp_path / f"t10k-labels-idx1-ubyte{suffix}", labels)
    assert cli("eval", tiny_artifact, "--data", tmp_path, "--json").data == {
        "runtime": "onnxruntime",
        "samples": 4,
        "correct": 3,
        "top1_percent": 75.0,
    }


def test_a_checkpoint_is_measured_in_float(cli, tiny_checkpoint, tiny_data, tiny_model, tiny_inputs):
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")
    with torch.inference_mode():
        right = int((tiny_model(torch.from_numpy(tiny_inputs.copy())).argmax(1).numpy() == np.arange(4)).sum())
    data = cli("eval", tiny_checkpoint, "--data", tiny_data, "--json").data
    assert data == {"runtime": "torch-float", "samples": 4, "correct": right, "top1_percent": 25.0 * right}


def test_the_quantized_model_is_measured_with_its_checkpoint(cli, tiny_artifact, tiny_checkpoint, tiny_data):
    torch_answer = cli("eval", tiny_artifact, "--data", tiny_data, "--runtime", "torch", "--checkpoint", tiny_checkpoint, "--json").data
    engine_answer = cli("eval", tiny_artifact, "--data", tiny_data, "--json").data
    assert torch_answer | {"runtime": ""} == engine_answer | {"runtime": ""}


# --- bad data --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrays", "code"),
    [
        ({"images": np.zeros((2, 7, 5, 2), np.uint8)}, "DS2TA-134"),
        ({"images": np.zeros((0, 7, 5, 2), np.uint8), "labels": np.zeros(0, np.int64)}, "DS2TA-134"),
        ({"images": np.zeros((2, 7, 5, 2), np.uint8), "labels": np.zeros(3, np.int64)}, "DS2TA-133"),
        ({"images": np.zeros((2, 7, 5, 2), np.uint8), "labels": np.zeros(2)}, "DS2TA-133"),
        ({"images": np.zeros((2, 7, 5, 1), np.uint8), "labels": np.zeros(2, np.int64)}, "DS2TA-121"),
        ({"images": np.zeros((2, 7, 5, 2), np.int8), "labels": np.zeros(2, np.int64)}, "DS2TA-133"),
    ],
)
def test_data_that_do_not_fit(cli, small_artifact, tmp_path, arrays, code):
    np.savez(tmp_path / "data.npz", **arrays)
    assert cli("eval", small_artifact, "--data", tmp_path / "data.npz").is_error(4, code)


def test_data_that_are_not_there(cli, small_artifact, tmp_path):
    assert cli("eval", small_artifact, "--data", tmp_path / "nothing").is_error(4, "DS2TA-130")
    assert cli("eval", small_artifact, "--data", tmp_path).is_error(4, "DS2TA-130")


def test_a_damaged_directory_of_idx_files(cli, tiny_artifact, tmp_path):
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03\0\0\0\x05")
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(b"")
    assert cli("eval", tiny_artifact, "--data", tmp_path).is_error(4, "DS2TA-131")


def test_wrong_use(cli, small_artifact, small_data, tmp_path):
    assert cli("eval", small_artifact).code == 2
    assert cli("eval", small_artifact, "--data", small_data, "--runtime", "tensorrt").is_error(2, "DS2TA-504")
    assert cli("eval", tmp_path, "--data", small_data).is_error(4, "DS2TA-150")


def test_a_changed_artifact_is_measured_only_when_that_is_allowed(cli, changeable, small_data):
    (changeable / "report.json").write_text("{}")
    assert cli("eval", changeable, "--data", small_data).is_error(4, "DS2TA-153")
    assert cli("eval", changeable, "--data", small_data, "--allow-modified").code == 0
