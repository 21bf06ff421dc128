import pytest


def test_a_table_on_stdout(cli, small_artifact):
    shown = cli("bench", small_artifact, "--runtime", "reference", "--runtime", "onnxruntime", "--repeats", 2)
    assert (shown.code, shown.err) == (0, "")
    assert "reference" in shown.out
    assert "onnxruntime" in shown.out


def test_json(cli, small_artifact):
    data = cli("bench", small_artifact, "--runtime", "reference", "--batch", "1,3", "--repeats", 2, "--json").data
    assert [(entry["runtime"], entry["batch"], entry["threads"], entry["repeats"]) for entry in data] == [
        ("reference", 1, 1, 2),
        ("reference", 3, 1, 2),
    ]


def test_by_default_the_fast_ones_that_are_here(cli, small_artifact):
    names = {entry["runtime"] for entry in cli("bench", small_artifact, "--repeats", 1, "--json").data}
    assert "onnxruntime" in names
    assert names <= {"native", "onnxruntime-native", "onnxruntime"}


@pytest.mark.parametrize("batch", ["0", "a", "1,,2", "-1", "", "99999"])
def test_what_is_no_list_of_numbers(cli, small_artifact, batch):
    assert cli("bench", small_artifact, "--batch", batch).code == 2


def test_an_unknown_runtime(cli, small_artifact):
    assert cli("bench", small_artifact, "--runtime", "nothing").is_error(2, "DS2TA-504")
