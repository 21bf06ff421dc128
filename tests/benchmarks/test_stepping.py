import msgspec
import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from click.testing import CliRunner

from benchmarks import stepping
from benchmarks.machine import machine
from ds2ta_deploy.errors import ParityError
from ds2ta_deploy.runtimes.native.library import library_path
from ds2ta_deploy.runtimes.native.stepper import NativeStepper

pytestmark = pytest.mark.skipif(library_path() is None, reason="needs the native library: a C compiler when installing")


def test_the_steps_of_still_pictures_and_of_event_frames_are_timed(small_graph):
    from builders import build_small_graph

    for graph in (small_graph, build_small_graph(still=False)):
        cost = stepping.measure("small", graph, 3)
        assert (cost.name, cost.steps, cost.span) == ("small", 4, 1)
        assert min(cost.sequence, cost.step) > 0
        assert cost.ratio == cost.step / cost.sequence
        *_, row = stepping.Stepping(machine=machine(), costs=(cost,)).summary().splitlines()
        assert row.startswith("| small | 4 | 1 |")


def test_wrong_steps_are_not_timed(small_graph, monkeypatch):
    honest = NativeStepper.logits
    monkeypatch.setattr(NativeStepper, "logits", lambda run: honest(run) + np.int32(1))
    with pytest.raises(ParityError, match=r"DS2TA-301 .*small computes other logits step by step"):
        stepping.measure("small", small_graph, 2)


def test_everything_is_written(small_graph, monkeypatch, tmp_path):
    monkeypatch.setattr(stepping, "bundled", lambda _name: small_graph)
    monkeypatch.setattr(stepping, "at_rate", lambda _preset, _rate: small_graph)
    written = tmp_path / "stepping.json"
    done = CliRunner().invoke(stepping.main, ["--rounds", "2", "--json", str(written)], catch_exceptions=False)
    assert done.exit_code == 0
    found = msgspec.json.decode(written.read_bytes(), type=stepping.Stepping)
    assert [cost.name for cost in found.costs] == [*stepping.BUNDLED, f"{stepping.PRESET}-15%"]
    assert done.output == found.summary() + "\n"
