import msgspec
import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from click.testing import CliRunner

from benchmarks import scaling
from ds2ta_deploy.errors import ParityError
from ds2ta_deploy.runtimes.native.library import library_path
from ds2ta_deploy.runtimes.native.runtime import NativeRuntime

pytestmark = pytest.mark.skipif(library_path() is None, reason="needs the native library: a C compiler when installing")


@pytest.fixture
def small(monkeypatch):
    """Few and small points."""
    sizes = {"time steps": (1, 3), "tokens": (4, 9), "width": (32, 64), "batch": (1, 3), "threads": (1, 2, 4096)}
    monkeypatch.setattr(scaling, "_AXES", sizes)


def test_time_and_work_of_every_axis(small, tmp_path):
    written = tmp_path / "points.json"
    done = CliRunner().invoke(scaling.main, ["--width", "64", "--rounds", "2", "--json", str(written)], catch_exceptions=False)
    assert done.exit_code == 0
    grown = msgspec.json.decode(written.read_bytes(), type=scaling.Growth)
    points = grown.points
    assert [line.split(" | ")[0] for line in grown.summary().splitlines()[4:]] == [f"| {axis}" for axis in scaling._AXES]
    found = {axis: [point for point in points if point.axis == axis] for axis in scaling._AXES}
    assert [point.size for point in found["width"]] == [32, 64]
    assert found["threads"][0].size == 1
    assert all(point.size < 4096 for point in points)
    for own in found.values():
        assert own[0].growth == 1
        assert all(point.milliseconds > 0 for point in own)
    assert found["batch"][1].operations == 3 * found["batch"][0].operations
    assert {point.operations for point in found["threads"]} == {found["batch"][0].operations}
    assert found["width"][1].growth == pytest.approx(
        found["width"][1].milliseconds / found["width"][0].milliseconds / (found["width"][1].operations / found["width"][0].operations)
    )


def test_a_wrong_point_is_not_timed(small, monkeypatch, tiny_config):
    honest = NativeRuntime.trace
    monkeypatch.setattr(NativeRuntime, "trace", lambda *arguments: {name: array + 1 for name, array in honest(*arguments).items()})
    with pytest.raises(ParityError, match=r"DS2TA-301 .* with batch 1"):
        scaling.measure("batch", tiny_config, 0.15, 2)
