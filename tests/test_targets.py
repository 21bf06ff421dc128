import pytest
from support import files_of, frozen

from ds2ta_deploy.errors import UsageError
from ds2ta_deploy.exporting import export
from ds2ta_deploy.graph.ranges import PROFILES
from ds2ta_deploy.runtimes.table import RUNTIMES
from ds2ta_deploy.targets import TARGETS, find_target
from ds2ta_deploy.verification import available_runtimes, verify


def test_every_targets_runtimes_and_profile_exist():
    for target in TARGETS.values():
        assert set(target.verify_with) <= set(RUNTIMES)
        assert RUNTIMES[target.run_with].executes in target.holds
        assert target.profile in PROFILES
        for part in target.holds:
            assert any(RUNTIMES[name].executes == part for name in target.verify_with)


def test_all_is_the_strictest_of_everything():
    every, others = TARGETS["all"], [target for target in TARGETS.values() if target.name != "all"]
    assert every.holds == tuple(target.name for target in others)
    assert PROFILES[every.profile].state_bits == min(PROFILES[target.profile].state_bits for target in others)
    assert set(every.verify_with) == {name for target in others for name in target.verify_with}


def test_there_is_no_other_target():
    with pytest.raises(UsageError, match="DS2TA-506"):
        find_target("tflite")


def test_one_artifact_holds_the_files_of_every_target(small_graph, small_inputs, tmp_path):
    graph = frozen(small_graph)
    runtimes = ["onnxruntime", "lava-stepper", "c"]
    everything = export(graph, "all", tmp_path / "all", inputs=small_inputs, runtimes=runtimes)
    onnx = export(graph, "onnx", tmp_path / "onnx", inputs=small_inputs)
    lava = export(graph, "lava", tmp_path / "lava", inputs=small_inputs, runtimes="lava-stepper")
    c = export(graph, "c", tmp_path / "c", inputs=small_inputs)
    of_its_own = {"manifest.json", "report.json"}  # they name the runtimes that were compared
    found = {name: data for name, data in files_of(everything.path).items() if name not in of_its_own}
    expected = {name: data for artifact in (onnx, lava, c) for name, data in files_of(artifact.path).items() if name not in of_its_own}
    assert found == expected
    report = verify(everything, ["onnxruntime", "onnx-reference", "c", "lava-stepper"])
    assert report.passed
    assert [result.runtime for result in report.results] == [
        "onnxruntime",
        "onnxruntime-steps",
        "onnx-reference",
        "c",
        "lava-stepper",
        "golden",
    ]
    assert {"onnxruntime", "lava-stepper", "c"} <= set(available_runtimes("all", with_checkpoint=False))


@pytest.mark.parametrize("missing", ["onnx", "lava", "c"])
def test_every_part_must_be_run(small_graph, small_inputs, tmp_path, missing):
    runtimes = [name for name in ("onnxruntime", "lava-stepper", "c") if RUNTIMES[name].executes != missing]
    with pytest.raises(UsageError, match=f"DS2TA-509.* exported for {missing}") as caught:
        export(frozen(small_graph), "all", tmp_path / "out", inputs=small_inputs, runtimes=runtimes)
    assert len(caught.value.problems) == 1
    assert not (tmp_path / "out").exists()
