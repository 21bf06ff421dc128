"""Pictures in class folders, archives of them, and python batches, as the commands take them."""

import pickle

import numpy as np
import pytest

pytest.importorskip("PIL", reason="needs Pillow: pip install 'ds2ta-deploy[images]'")
pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from attack_files import Bomb
from builders import trace_of
from picture_files import archived, encoded, filled, python2_batch

CLASSES = "abcde"


@pytest.fixture(params=["directory", "archive"])
def write(request, tmp_path):
    """Return a function that puts files into a data set of either kind."""
    if request.param == "directory":
        return lambda files: filled(tmp_path / "pictures", files)
    return lambda files: archived(tmp_path / "pictures.zip", files)


@pytest.fixture
def files(tiny_graph, tiny_inputs):
    """Every picture in the folder of the class that the network decides for, but the first one; the folders of all five are there."""
    decisions = trace_of(tiny_graph, tiny_inputs)["head.logits"].argmax(1)
    labels = decisions.copy()
    labels[0] = (labels[0] + 1) % 5
    known = {f"train/{name}/0.png": encoded(tiny_inputs[0]) for name in CLASSES}
    return known | {f"test/{CLASSES[label]}/{number}.png": encoded(tiny_inputs[number]) for number, label in enumerate(labels)}


def test_eval_counts_what_is_right(cli, tiny_artifact, files, write):
    shown = cli("eval", tiny_artifact, "--data", write(files), "--json")
    assert shown.data == {"runtime": "onnxruntime", "samples": 4, "correct": 3, "top1_percent": 75.0}


def test_run_gives_the_decisions_in_the_order_of_classes_and_names(cli, tiny_artifact, tiny_graph, tiny_inputs, files, write):
    numbers = [int(name.split("/")[-1].removesuffix(".png")) for name in sorted(files) if name.startswith("test")]
    shown = cli("run", tiny_artifact, "--inputs", write(files), "--json")
    assert np.array_equal(shown.data["logits"], trace_of(tiny_graph, tiny_inputs[numbers])["head.logits"])


def test_verify_compares_on_them(cli, tiny_artifact, files, write):
    shown = cli("verify", tiny_artifact, "--inputs", write(files), "--json")
    assert shown.code == 0
    assert shown.data["samples"] == 4
    assert shown.data["passed"] is True


def test_export_keeps_the_first_of_them(cli, tiny_checkpoint, files, write, tmp_path):
    shown = cli("export", tiny_checkpoint, "--inputs", write(files), "--samples", "3", "-o", tmp_path / "out", "--json")
    assert shown.code == 0
    assert shown.data["parity"]["samples"] == 3


def test_every_damaged_picture_is_a_line(cli, tiny_artifact, files, write):
    path = write(files | {"test/a/cut.png": files["train/a/0.png"][:-60], "test/b/text.png": b"text"})
    for command, option in (("eval", "--data"), ("run", "--inputs"), ("verify", "--inputs")):
        assert cli(command, tiny_artifact, option, path).is_error(4, "DS2TA-147", "DS2TA-147")


def test_a_folder_of_an_unknown_class(cli, tiny_artifact, files, write):
    path = write(files | {"test/zebra/0.png": files["train/a/0.png"]})
    assert cli("eval", tiny_artifact, "--data", path).is_error(4, "DS2TA-146")


def test_more_classes_than_the_network_knows(cli, tiny_artifact, files, write):
    more = {f"{split}/zebra/0.png": files["train/a/0.png"] for split in ("train", "test")}
    assert cli("eval", tiny_artifact, "--data", write(files | more)).is_error(4, "DS2TA-135")


def test_pictures_of_another_size_than_the_networks(cli, tiny_artifact, write):
    path = write({"a/0.png": encoded(np.zeros((4, 4, 3), np.uint8))})
    assert cli("eval", tiny_artifact, "--data", path).is_error(4, "DS2TA-121")


def test_a_batch_with_labels_that_are_no_classes(cli, tiny_artifact, tmp_path):
    (tmp_path / "test_batch").write_bytes(python2_batch(np.zeros((2, 3072), np.uint8), [10, -1]))
    shown = cli("eval", tiny_artifact, "--data", tmp_path)
    assert shown.is_error(4, "DS2TA-145")
    assert "2 labels lie outside 0..9, the first is 10 of picture 0" in shown.err


def test_code_in_a_batch_is_one_line_and_does_not_run(cli, tiny_artifact, tmp_path):
    (tmp_path / "test_batch").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    assert cli("eval", tiny_artifact, "--data", tmp_path / "test_batch").is_error(4, "DS2TA-145")
    assert not (tmp_path / "ran").exists()
