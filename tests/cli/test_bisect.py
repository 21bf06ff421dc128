"""Faults planted in an artifact: the exact op and index, predicted here by plain loops over the honest trace."""

import json

import numpy as np
import onnx
import pytest
from builders import assert_fires, every_index, trace_of
from support import ON_ONNX, copy_artifact, frozen, names_in, one_more, replaced, rewrite

from ds2ta_deploy.artifact import GOLDEN_HASHES, GRAPH, MODEL, Artifact
from ds2ta_deploy.bisection.reproducer import RECORD
from ds2ta_deploy.graph import serialize
from ds2ta_deploy.runtimes.table import RUNTIMES


def set_attribute(data, node, attribute, place, integer):
    """Return the ONNX file with one integer of a node's attribute changed."""
    model = onnx.load_model_from_string(data)
    (found,) = [entry for entry in next(each for each in model.graph.node if each.name == node).attribute if entry.name == attribute]
    assert found.ints[place] != integer
    found.ints[place] = integer
    return model.SerializeToString(deterministic=True)


def op_of(graph, name):
    return next(op for op in graph if op.name == name)


def first(shape, differs):
    """Return (sample, step, index) of the first place, in this order, of [step, sample, ...] for which ``differs`` holds."""
    steps, samples, *rest = shape
    for sample, step, *index in every_index((samples, steps, *rest)):
        if differs(step, sample, *index):
            return sample, step, index
    raise AssertionError("the fault shows nowhere")


def in_conv(graph, trace, data):
    """A weight of the convolution is one larger: found where its input first is not zero."""
    weight = op_of(graph, "patch.position.weights").weight
    row, column, source, out = 2, 0, 3, 5
    flat = ((row * 3 + column) * weight.shape[3] + source) * weight.shape[0] + out
    up = 1 if weight[out, row, column, source] < 127 else -1
    inputs, product = trace["patch.stages.0.pooled"], trace["patch.position.product"]

    def touched(step, sample, y, x):
        above, left = y + row - 1, x + column - 1
        inside = 0 <= above < inputs.shape[2] and 0 <= left < inputs.shape[3]
        return int(inputs[step, sample, above, left, source]) if inside else 0

    sample, step, (y, x) = first(product.shape[:4], touched)
    want = int(product[step, sample, y, x, out])
    words = f"row {y}, column {x}, channel {out}"
    changed = one_more(data, "patch.position.weight", flat)
    have = want + up * touched(step, sample, y, x)
    return changed, "patch.position.weights", "Conv2d", "patch.position.product", sample, step, [y, x, out], words, want, have


def in_nsad(graph, trace, data):
    """An entry of one head's table is one larger: found where that score first occurs in that head."""
    table, head, score = op_of(graph, "blocks.0.attn.denoiser").table, 1, 2
    scores = trace["blocks.0.attn.scores"]
    sample, step, (h, query, key) = first(scores.shape, lambda *place: place[2] == head and scores[place] == score)
    words = f"head {h}, query {query}, key {key}"
    changed = one_more(data, "blocks.0.attn.table", head * table.shape[1] + score)
    want = int(table[head, score])
    return changed, "blocks.0.attn.denoiser", "Lookup", "blocks.0.attn.denoised", sample, step, [h, query, key], words, want, want + 1


def in_window(graph, trace, data):
    """One tap of the window decays less than it should: found where that tap's product first is not zero."""
    window, products = op_of(graph, "blocks.0.attn.q.window"), trace["blocks.0.attn.q.product"]
    assert (window.taps, window.decay, window.guard_bits) == (3, 1, 2)  # taps count 4, 2 and 1 times
    sample, step, (token, channel) = first(products.shape, lambda t, *place: t >= 2 and products[(t - 2, *place)] != 0)
    want = int(trace["blocks.0.attn.q.current"][step, sample, token, channel])
    have = want + int(products[step - 2, sample, token, channel])
    words = f"token {token}, channel {channel}"
    changed = set_attribute(data, "blocks.0.attn.q", "multipliers", 2, 2)
    return changed, window.name, "TemporalWindow", "blocks.0.attn.q.current", sample, step, [token, channel], words, want, have


def in_guard_bits(graph, trace, data):
    """The present tap has one guard bit too few: found at the first product or bias that is not zero."""
    window, products = op_of(graph, "blocks.0.attn.v.window"), trace["blocks.0.attn.v.product"]
    assert (window.taps, window.decay, window.guard_bits) == (2, 1, 1)
    offset = products.astype(int) + window.bias  # the bias has the guard bits of the present
    sample, step, (token, channel) = first(products.shape, lambda *place: offset[place] != 0)
    want = int(trace["blocks.0.attn.v.current"][step, sample, token, channel])
    have = want - int(offset[step, sample, token, channel])
    words = f"token {token}, channel {channel}"
    changed = set_attribute(data, "blocks.0.attn.v", "multipliers", 0, 1)
    return changed, window.name, "TemporalWindow", "blocks.0.attn.v.current", sample, step, [token, channel], words, want, have


@pytest.mark.parametrize("plant", [in_conv, in_nsad, in_window, in_guard_bits])
def test_a_planted_fault_is_named_to_the_op_and_the_index_and_replays(cli, changeable, small_graph, small_inputs, tmp_path, plant):
    trace = trace_of(small_graph, small_inputs)
    assert_fires(trace)
    data, op, kind, value, sample, step, index, words, want, have = plant(small_graph, trace, (changeable / MODEL).read_bytes())
    rewrite(changeable, MODEL, data)
    out = tmp_path / "reproducer"

    shown = cli("bisect", changeable, "--allow-modified", "--runtime", "onnxruntime", "--json", "-o", out)
    assert shown.code == 1
    found = shown.data
    assert found["divergence"] == {
        "runtime": "onnxruntime",
        "baseline": "reference",
        "value": value,
        "sample": sample,
        "step": step,
        "index": index,
        "baseline_value": want,
        "runtime_value": have,
    }
    finding = found["finding"]
    assert (finding["op"], finding["kind"], finding["op_value"], finding["first_cause"]) == (op, kind, want, True)
    assert finding["words"] == f"sample {sample}, time step {step}, {words}"
    assert found["modified"] == [MODEL]
    assert (found["reproducer"], found["alone"]) == (str(out), ["onnxruntime"])
    assert f"error DS2TA-301 [{value}]: onnxruntime computes {have} where reference has {want}" in shown.err

    for engine in ([], ["--runtime", "onnx-reference"]):
        again = cli("bisect", out, "--json", *engine)
        assert again.code == 1
        assert again.data["reproduces"] is True
        assert [(said["value"], said["how"]) for said in again.data["said"]] == [(want, "op"), (have, "part")]
        assert (again.data["op"], again.data["op_value"]) == (op, want)
    honest = cli("bisect", out, "--runtime", "reference")
    assert honest.code == 0
    assert "they agree: the fault does not show here" in honest.out


def test_a_fault_in_the_graph_is_named(cli, changeable, small_graph, small_inputs, tmp_path):
    op = op_of(small_graph, "patch.position.weights")
    weight = op.weight.copy()
    weight[4, 1, 1, 2] += 1 if weight[4, 1, 1, 2] < 127 else -1
    rewrite(changeable, GRAPH, serialize.to_bytes(replaced(frozen(small_graph), op.name, weight=weight)))
    inputs = trace_of(small_graph, small_inputs)["patch.stages.0.pooled"][..., 2]
    sample, step, (row, column) = first(inputs.shape, lambda *place: inputs[place])
    shown = cli("bisect", changeable, "--allow-modified", "--json", "-o", tmp_path / "out")
    assert shown.code == 1
    assert (shown.data["finding"]["op"], shown.data["modified"]) == (op.name, [GRAPH])
    divergence = shown.data["divergence"]
    assert (divergence["sample"], divergence["step"], divergence["index"]) == (sample, step, [row, column, 4])
    assert divergence["baseline_value"] == shown.data["finding"]["op_value"]  # the graph's op, faulty as it is
    assert divergence["runtime_value"] != shown.data["finding"]["op_value"]


# --- words -----------------------------------------------------------------------------------------------------------


def test_nothing_differs(cli, small_artifact, small_graph, tmp_path):
    shown = cli("bisect", small_artifact, "-o", tmp_path / "out")
    values = len(small_graph.observable)
    assert (shown.code, shown.out) == (0, "")
    assert shown.err == f"no integer differs: {values} values of 5 samples, {', '.join(ON_ONNX)}, golden against reference\n"
    assert names_in(tmp_path) == []


def test_json_of_nothing(cli, small_artifact, small_graph, tmp_path):
    shown = cli("bisect", small_artifact, "--runtime", "onnxruntime", "--baseline", "onnx-reference", "--json", "-o", tmp_path / "out")
    assert (shown.code, shown.err) == (0, "")
    assert shown.data == {
        "found": False,
        "samples": 5,
        "values": len(small_graph.observable),
        "baseline": "onnx-reference",
        "runtimes": ["onnxruntime"],
        "modified": [],
        "divergence": None,
        "finding": None,
        "reproducer": None,
        "alone": [],
    }


def test_what_a_person_reads(cli, changeable, tmp_path):
    rewrite(changeable, MODEL, one_more((changeable / MODEL).read_bytes(), "blocks.0.mlp.fc2.threshold", 3))
    shown = cli("bisect", changeable, "--allow-modified", "-o", tmp_path / "out")
    assert shown.code == 1
    lines = shown.out.splitlines()
    assert lines[0] == "onnxruntime and reference part at blocks.0.mlp.fc2 (Lif)"
    words = [line.split()[0] for line in lines[1:]]
    assert words == ["value", "place", "reference", "onnxruntime", "op", "reads", "reads", "reads", "operand"]
    assert lines[1].split() == ["value", "blocks.0.mlp.fc2.spikes"]
    assert [int(line.split()[-1]) for line in lines[3:6]] == [1, 0, 1]
    before, current, threshold = (int(line.rsplit(": ", 1)[1]) for line in lines[6:9])
    assert before + current == threshold  # it fired at equality
    assert lines[9].split() == [
        "operand",
        "blocks.0.mlp.fc2.current",
        "[4",
        "x",
        "1",
        "x",
        "12",
        "x",
        "8],",
        "equal",
        "on",
        "both",
        "sides",
    ]
    assert f"wrote {tmp_path / 'out'}; replay it with: ds2ta bisect {tmp_path / 'out'}" in shown.err

    again = cli("bisect", tmp_path / "out")
    assert again.code == 1
    assert again.out.splitlines()[-1] == "they differ"
    assert "1 (the op's class, executed)" in again.out
    assert "0 (the op alone, run)" in again.out


def test_another_wiring_is_told(cli, changeable, tmp_path):
    model = onnx.load_model_from_string((changeable / MODEL).read_bytes())
    next(node for node in model.graph.node if node.name == "patch.residual.add").input[0] = "patch.stages.0.pooled"
    rewrite(changeable, MODEL, model.SerializeToString())
    shown = cli("bisect", changeable, "--allow-modified", "-o", tmp_path / "out")
    assert shown.code == 1
    lines = [line.split() for line in shown.out.splitlines()]
    assert lines[0] == ["onnxruntime", "and", "reference", "part", "at", "patch.residual.add", "(Add)"]
    assert [line[1] for line in lines if line[0] == "operand"] == ["patch.stages.0.pooled", "patch.position.spikes"]
    assert lines[-1] == ["wiring", "onnxruntime", "makes", "it", "of", "patch.stages.0.pooled"]


def test_long_operands_are_cut_short_for_people(cli, changeable, tmp_path):
    rewrite(changeable, MODEL, one_more((changeable / MODEL).read_bytes(), "patch.position.weight", 40))
    shown = cli("bisect", changeable, "--allow-modified", "-o", tmp_path / "out")
    reads = [line.split() for line in shown.out.splitlines() if line.startswith("  reads")]
    assert [line[1] for line in reads] == ["inputs:", "weights:"]
    for line in reads:
        assert line[2:7] == ["[3", "x", "3", "x", "8]"]
        assert all(integer.lstrip("-").isdigit() for integer in line[7:23])
        assert line[23] == "…"
        assert line[25:] == ["of", "72", "are", "not", "0)"]
    data = cli("bisect", changeable, "--allow-modified", "--json").data
    assert [len(data["finding"]["read"][word]["integers"]) for word in ("inputs", "weights")] == [72, 72]


def test_a_hash_alone_has_no_place(cli, changeable, tmp_path):
    hashes = json.loads((changeable / GOLDEN_HASHES).read_text()) | {"head.logits": "00"}
    rewrite(changeable, GOLDEN_HASHES, json.dumps(hashes).encode(), rehash=True)
    shown = cli("bisect", changeable, "-o", tmp_path / "out")
    assert (shown.code, shown.out) == (1, "")
    assert "no reproducer was written: there is no single integer to point at" in shown.err
    assert "error DS2TA-304 [head.logits]: reference no longer computes what was recorded at export" in shown.err
    assert names_in(tmp_path) == ["changeable"]
    assert cli("bisect", changeable, "--json").data["divergence"]["step"] is None


def test_without_a_name_the_folder_lies_beside_the_artifact(cli, changeable, tmp_path, monkeypatch):
    rewrite(changeable, MODEL, one_more((changeable / MODEL).read_bytes(), "head.bias", 0))
    for _ in range(2):
        assert cli("bisect", changeable, "--allow-modified", "--runtime", "onnxruntime").code == 1
    assert names_in(tmp_path) == ["changeable", "changeable.reproducer", "changeable.reproducer-2"]
    monkeypatch.chdir(changeable)
    assert cli("bisect", ".", "--allow-modified", "--runtime", "all").code == 1
    assert names_in(tmp_path)[-1] == "changeable.reproducer-3"
    monkeypatch.chdir(tmp_path / "changeable.reproducer")
    assert cli("bisect", ".").code == 1  # the one command of its README


def test_pytorch_joins_with_the_checkpoint(cli, tiny_artifact, tiny_checkpoint, tiny_data, tmp_path):
    shown = cli("bisect", tiny_artifact, "--checkpoint", tiny_checkpoint, "--json")
    assert (shown.code, shown.data["baseline"]) == (0, "torch")
    copy = copy_artifact(tiny_artifact, tmp_path / "copy")
    rewrite(copy, MODEL, one_more((copy / MODEL).read_bytes(), "patch.stages.0.bias", 2))
    options = ["--allow-modified", "--checkpoint", tiny_checkpoint, "--inputs", tiny_data, "-o", tmp_path / "out"]
    shown = cli("bisect", copy, *options, "--json")
    assert shown.code == 1
    assert (shown.data["divergence"]["baseline"], shown.data["runtimes"]) == ("torch", ["reference", *ON_ONNX])
    assert shown.data["finding"]["op"] == "patch.stages.0.window"
    assert shown.data["divergence"]["index"] == [0, 0, 2]
    again = cli("bisect", tmp_path / "out")
    assert again.code == 1
    assert "as recorded: it cannot run this op alone" in again.out


# --- wrong use and damaged files -------------------------------------------------------------------------------------


def test_the_output_must_be_free_before_the_search(cli, small_artifact, tmp_path):
    (tmp_path / "taken").mkdir()
    assert cli("bisect", small_artifact, "-o", tmp_path / "taken").is_error(2, "DS2TA-501")


def test_wrong_use(cli, small_artifact, tmp_path, small_data):
    assert cli("bisect", small_artifact, "--runtime", "tensorrt").is_error(2, "DS2TA-504")
    without = (2, "DS2TA-503") if RUNTIMES["torch"].available else (5, "DS2TA-401")
    assert cli("bisect", small_artifact, "--runtime", "torch").is_error(*without)
    assert cli("bisect", small_artifact, "--runtime", "reference").is_error(2, "DS2TA-509")
    assert cli("bisect", small_artifact, "--runtime", "golden", "--inputs", small_data).is_error(2, "DS2TA-504")
    assert cli("bisect", small_artifact, "--inputs", tmp_path / "nothing.npz").is_error(4, "DS2TA-130")
    assert cli("bisect", tmp_path).is_error(4, "DS2TA-150")


def test_changed_files_are_refused_unless_allowed(cli, changeable):
    rewrite(changeable, MODEL, one_more((changeable / MODEL).read_bytes(), "head.bias", 0))
    assert cli("bisect", changeable).is_error(4, "DS2TA-153")


def test_a_reproducer_is_protected_like_an_artifact_and_takes_no_inputs(cli, changeable, tmp_path, small_data):
    rewrite(changeable, MODEL, one_more((changeable / MODEL).read_bytes(), "head.bias", 0))
    out = tmp_path / "out"
    assert cli("bisect", changeable, "--allow-modified", "-o", out).code == 1
    for option in (["-o", tmp_path / "other"], ["--inputs", small_data], ["--checkpoint", small_data]):
        assert cli("bisect", out, *option).is_error(2, "DS2TA-504")
    assert cli("verify", out).is_error(4, "DS2TA-152")
    assert cli("inspect", out).is_error(4, "DS2TA-152")
    record = json.loads((out / RECORD).read_text())
    (out / RECORD).write_text(json.dumps(record | {"runtime_value": 0}))
    assert cli("bisect", out).is_error(4, "DS2TA-153")
    assert Artifact.open(out, allow_modified=True).modified == (RECORD,)
    rewrite(out, RECORD, json.dumps(record | {"words": "\x1b[31mred"}).encode(), rehash=True)
    shown = cli("bisect", out)
    assert shown.code == 1
    assert "\x1b" not in shown.out + shown.err
    assert np.load(out / "operands.npz")["blocks.0.mlp_residual"].shape == (4, 1, 12, 8)
