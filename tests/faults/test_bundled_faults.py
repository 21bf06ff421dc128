"""Faults in the bundled network's artifact, a sample of them, verified on its own golden inputs.

The slow tests put in some, whose figures docs/trust.md has, the long ones (``make faults``) more.
"""

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from faults.catalogue import bit_flips, off_by_one
from faults.reasons import unexcited
from faults.score import score_data, score_structural
from faults.targets import TARGETS, CFile

from ds2ta_deploy.checkpoints import load_checkpoint
from ds2ta_deploy.datasets import read_data
from ds2ta_deploy.exporting import export
from ds2ta_deploy.freezing import freeze
from ds2ta_deploy.quantization import Quantization, quantize
from ds2ta_deploy.runtimes.reference import ReferenceRuntime

EXAMPLE = Path(__file__).parents[2] / "examples" / "fashion_mnist"

#: Pictures that every fault is verified on; a fault that these do not show is looked for in all 256.
FIRST = 12

#: Faults of the sample that none of the 256 pictures shows: thresholds that no membrane is ever exactly at (the windows' guard
#: bits give these layers membranes of 16 bits and more), and entries of denoiser tables for scores that never occur.
UNSHOWN = {"graph.safetensors": 3, "model.onnx": 6, "lava": 3, "c/model_data.c": 3}


@pytest.fixture(scope="module")
def bundled(tmp_path_factory):
    """Return the bundled network's artifact on the first of its pictures, and all of them."""
    pictures = read_data(EXAMPLE / "ds2ta-2-64.npz").images
    graph = freeze(quantize(load_checkpoint(EXAMPLE / "ds2ta-2-64.safetensors"), Quantization(profile="loihi")))
    out = tmp_path_factory.mktemp("bundled") / "out"
    return export(graph, "all", out, inputs=pictures[:FIRST], runtimes=["onnxruntime", "lava-stepper", "c"]), pictures


def shown_by_none(graph, pictures, faults):
    """Return those faults that change nothing on all the pictures.

    Where the exact condition of ``unexcited`` is not met, the faulty op itself gives another value: verification with
    ``values="all"`` sees it, without a run.
    """
    makers = {op.name: op for op in graph}
    wanted = [name for fault in faults for name in (*makers[fault.op].inputs, *makers[fault.op].outputs) if name in graph.observable]
    trace = ReferenceRuntime(graph).trace(pictures, list(dict.fromkeys(wanted)))
    return [fault for fault in faults if unexcited(graph, trace, pictures, fault) is not None]


def said(score, left):
    """Return the score as docs/trust.md has it, with the faults that none of all the pictures shows."""
    found = score.figures
    share = 100 * (1 - len(left) / found["tried"])
    return {name: found[name] for name in ("tried", "caught", "equivalent")} | {"unshown": len(left), "score": share}


@pytest.mark.parametrize(
    ("kind", "flips"),
    [
        *(pytest.param(kind, 0, marks=pytest.mark.slow) for kind in TARGETS),
        *(pytest.param(kind, 60, marks=pytest.mark.long) for kind in (*TARGETS, CFile)),
    ],
)
def test_changed_integers_of_the_bundled_network_are_caught(bundled, shown, figures, kind, flips):
    artifact, pictures = bundled
    target = kind(artifact)
    faults = [*off_by_one(target.tensors, 1, seed=0), *bit_flips(target.tensors, flips, seed=0)]
    score = score_data(target, faults)
    left = shown_by_none(target.graph, pictures, [fault for faults in score.unexcited.values() for fault in faults])
    share = 1 - len(left) / score.total.faults
    score.notes = [f"shown by none of {len(pictures)} pictures: {len(left)}, score {share:.2%}", *map(str, left)]
    shown(score, f"{target.name} of the bundled network, {FIRST} pictures: changed integers")
    assert (score.survivors, score.contradictions) == ([], [])
    assert score.total.faults >= 50 + flips // 2
    assert all(fault.field in ("threshold", "table") for fault in left)
    assert len(left) <= UNSHOWN[target.name]
    if not flips:
        figures.check(f"bundled faults: {target.name}, off by one", **said(score, left))


@pytest.mark.parametrize(
    ("kind", "every"),
    [pytest.param(kind, every, marks=mark) for every, mark in ((12, pytest.mark.slow), (4, pytest.mark.long)) for kind in TARGETS],
)
def test_structural_faults_in_the_bundled_network_are_caught(bundled, shown, figures, kind, every):
    artifact, pictures = bundled
    target = kind(artifact)
    score = score_structural(target, every)
    left = shown_by_none(target.graph, pictures, [fault for faults in score.unexcited.values() for fault in faults])
    score.notes = [f"shown by none of {len(pictures)} pictures: {len(left)}", *map(str, left)]
    shown(score, f"{target.name} of the bundled network, {FIRST} pictures: structure")
    assert (score.survivors, score.contradictions) == ([], [])
    assert left == []
    assert score.total.faults >= 160 // every
    if every > 4:
        figures.check(f"bundled faults: {target.name}, structure", **said(score, left))
