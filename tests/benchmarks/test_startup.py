import msgspec
import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from click.testing import CliRunner

from benchmarks import startup
from benchmarks.networks import network_at_rate
from ds2ta_deploy.errors import ParityError
from ds2ta_deploy.models.presets import PRESETS
from ds2ta_deploy.runtimes.native.library import library_path
from ds2ta_deploy.runtimes.native.runtime import NativeRuntime

pytestmark = pytest.mark.skipif(library_path() is None, reason="needs the native library: a C compiler when installing")


@pytest.fixture
def small(monkeypatch, tiny_config, tmp_path):
    """A preset that is small; the artifact of a network of its kind, and its pictures."""
    monkeypatch.setitem(PRESETS, "ds2ta-4-384", tiny_config)
    network = network_at_rate("ds2ta-4-384", 0.15, tmp_path, count=1)
    np.save(tmp_path / "pictures.npy", network.pictures)
    return network.grids[8].artifact, tmp_path / "pictures.npy"


def test_time_and_memory_of_a_start(small):
    artifact, pictures = small
    found = startup.start(artifact.path, pictures, 1)
    assert found.plan > 0
    assert found.first_call > 0
    assert found.weights == sum(array.nbytes for op in artifact.graph for array in vars(op).values() if isinstance(array, np.ndarray))
    assert found.held >= found.arena > 0
    assert found.ratio == found.held / (found.weights + found.arena)
    assert startup.start(artifact.path, pictures, 3).held >= found.held + 2 * found.arena


def test_a_wrong_first_call_fails(small, monkeypatch):
    honest = NativeRuntime.trace
    monkeypatch.setattr(NativeRuntime, "trace", lambda *arguments: {name: array + 1 for name, array in honest(*arguments).items()})
    with pytest.raises(ParityError, match=r"DS2TA-301"):
        startup.start(small[0].path, small[1], 1)


def test_the_command_tells(small, tmp_path):
    written = tmp_path / "startup.json"
    done = CliRunner().invoke(startup.main, ["--rounds", "2", "--json", str(written)], catch_exceptions=False)
    assert done.exit_code == 0
    found = msgspec.json.decode(written.read_bytes(), type=startup.Starting)
    assert len(found.starts) == 2
    assert f"the plan holds | {found.best.held / 1e6:.2f} MB" in done.output
    assert done.output == found.summary() + "\n"
