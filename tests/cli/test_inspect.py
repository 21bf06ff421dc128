import json
import os
import re
import subprocess
import sys

import pytest
from support import frozen, read_manifest, replaced, rewrite, write_manifest

from ds2ta_deploy.artifact import GRAPH, REPORT
from ds2ta_deploy.exporting import export
from ds2ta_deploy.graph import serialize
from ds2ta_deploy.graph.populations import group


def report_of(path):
    return json.loads((path / REPORT).read_text())


def named(lines):
    """Return the tree's lines by the dotted name that their place in it says."""
    found, path = {}, []
    for line in lines[lines.index("") + 1 :]:
        drawn, part = re.match(r"([ ├└│─]*)(\S+)", line).groups()
        depth = (len(drawn) - 1) // 3 if drawn else 0
        path = [*path[:depth], part]
        found[".".join(path)] = line
    return found


def test_every_population_is_shown_with_what_it_holds(cli, small_artifact, small_graph):
    shown = cli("inspect", small_artifact)
    assert (shown.code, shown.err) == (0, "")
    lines = shown.out.splitlines()
    found = named(lines)
    for population in group(small_graph):
        assert population.name in found, population.name
    assert len(found) == len(set(found))
    key = found["blocks.0.attn.k"]
    entry = next(entry for entry in report_of(small_artifact)["populations"] if entry["name"] == "blocks.0.attn.k")
    low, high = entry["threshold_range"]
    assert "SpikingLinear     [4 x batch x 12 x 8]" in key
    state = report_of(small_artifact)["ranges"]["blocks.0.attn.k.membrane"]
    assert "leak shift 1, window 3 taps" in key
    assert f"state {state['bits']} of {state['limit']} bits" in key
    assert f"threshold {low}..{high}" in key
    assert "window 3 taps, shift 2, guard bits 1 (floors)" in key
    assert f"fires {report_of(small_artifact)['firing_rates']['blocks.0.attn.k.spikes']:.1%}" in key
    query = found["blocks.0.attn.q"]
    assert "window 3 taps, shift 1, guard bits 2," in query
    assert "(floors)" not in query


def test_the_populations_of_a_stream_are_shown(cli, stream_graph, small_inputs, tmp_path):
    out = export(frozen(stream_graph), "onnx", tmp_path / "out", inputs=small_inputs).path
    shown = cli("inspect", out)
    assert (shown.code, shown.err) == (0, "")
    lines = [re.sub(" {2,}", " ", line.strip(" ├└│─")) for line in shown.out.splitlines()]
    assert any(
        line.startswith("position Synapses [4 x batch x 4 x 3 x 8], weights 8 x 3 x 3 x 8") and "dilation 2" in line for line in lines
    )
    assert any(line.startswith("attn SpikingAttention") and "chunks of 2 steps" in line for line in lines)
    assert any(line.startswith("mix TimeMix") and "weights of present and past steps in " in line for line in lines)
    assert any(line.startswith("saccade Threshold") and "threshold " in line and "fires " in line for line in lines)
    assert "0 different" in shown.out
    certified = cli("inspect", out, "--certificate")
    assert (certified.code, certified.err) == (0, "")
    assert "blocks.1.attn.query_state" in certified.out


def test_the_origin_is_shown(cli, tiny_artifact):
    text = cli("inspect", tiny_artifact).out
    manifest = json.loads((tiny_artifact / "manifest.json").read_text())
    assert f"checkpoint sha256 {manifest['checkpoint']['sha256']}" in text
    assert "ds2ta-1-32: target onnx" in text
    assert "profile cpu" in text
    assert "weight_bits 8" in text
    for entry in manifest["parity"]:
        assert (
            f"{entry['runtime']}: {entry['integers']:,} integers of {entry['values']} values over {entry['samples']} samples, 0 different"
            in text
        )


def test_json_is_manifest_report_and_stored_weights(cli, small_artifact):
    shown = cli("inspect", small_artifact, "--json")
    assert (shown.code, shown.err) == (0, "")
    data = shown.data
    weights = data.pop("weights")
    assert data == {"manifest": json.loads((small_artifact / "manifest.json").read_text()), "report": report_of(small_artifact)}
    assert weights["blocks.0.mlp.fc1"] == {"formats": ["int8"], "bytes": 16 * 8}
    assert weights["patch.stages.0"] == {"formats": ["int16"], "bytes": 2 * 8 * 9 * 2}


def test_no_line_is_wrapped_and_nothing_is_coloured(cli, small_artifact, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")
    text = cli("inspect", small_artifact).out
    assert max(map(len, text.splitlines())) > 80
    assert "\x1b" not in text


@pytest.mark.parametrize("data", [b"garbage", b"{}", b"[]", b'{"schema": "ds2ta-report/9"}', b""])
def test_a_report_that_is_none(cli, changeable, data):
    rewrite(changeable, REPORT, data)
    assert cli("inspect", changeable).is_error(4, "DS2TA-153")
    assert cli("inspect", changeable, "--allow-modified").is_error(4, "DS2TA-157")


def test_what_a_report_says_cannot_reach_the_terminal_raw(cli, changeable):
    report = report_of(changeable)
    report["graph"] = "evil\x1b[31m"
    report["facts"]["family"] = "[/b]\x1b]0;title\x07"
    report["populations"][3]["name"] = "a.\x1b[2Jb[red]"
    report["populations"][4]["ops"] = ["\rOp"]
    rewrite(changeable, REPORT, json.dumps(report).encode(), rehash=True)
    shown = cli("inspect", changeable)
    assert shown.code == 0
    assert all(character.isprintable() or character == "\n" for character in shown.out)
    for text in ("evil\\x1b[31m", "[/b]", "\\x1b[2Jb[red]"):
        assert text in shown.out


def test_json_escapes_what_a_terminal_would_obey(cli, changeable):
    report = report_of(changeable)
    report["graph"] = "evil\x1b[31m\x07"
    rewrite(changeable, REPORT, json.dumps(report).encode(), rehash=True)
    shown = cli("inspect", changeable, "--json")
    assert shown.data["report"]["graph"] == "evil\x1b[31m\x07"
    assert "\x1b" not in shown.out


def test_what_is_no_artifact(cli, tmp_path):
    assert cli("inspect", tmp_path).is_error(4, "DS2TA-150")
    assert cli("inspect", tmp_path / "nothing").is_error(4, "DS2TA-150")


def test_an_inline_artifact_says_so(cli, small_graph, small_inputs, tmp_path):
    from support import frozen

    from ds2ta_deploy.exporting import export

    export(frozen(small_graph), "onnx", tmp_path / "out", inputs=small_inputs, inline=True)
    assert "functions expanded" in cli("inspect", tmp_path / "out").out
    assert "functions expanded" not in cli("inspect", tmp_path / "out", "--json").out


def test_a_graph_made_by_hand_can_be_inspected(cli, small_graph, small_inputs, tmp_path):
    from ds2ta_deploy.exporting import export

    export(small_graph, "onnx", tmp_path / "out", inputs=small_inputs)
    shown = cli("inspect", tmp_path / "out")
    assert (shown.code, shown.err) == (0, "")
    assert "note made by hand" in shown.out


def test_the_certificate_is_shown_and_checked(cli, small_artifact, small_graph):
    shown = cli("inspect", small_artifact, "--certificate")
    assert (shown.code, shown.err) == (0, "")
    certificate = read_manifest(small_artifact)["certificate"]
    lines = shown.out.splitlines()
    for entry in certificate["bounds"]:
        (line,) = [line for line in lines if line.split()[:1] == [entry["value"]]]
        assert f"[{entry['low']}, {entry['high']}]" in line
        assert f"{entry['bits']} of {entry['available']} bits" in line
        assert f"{entry['margin']} to spare" in line
    (table,) = [line for line in lines if line.split()[:1] == ["blocks.0.attn.denoiser"]]
    assert "[0, 4]" in table
    assert "table 0..4" in table
    assert "a sum of 4 products of at most 1" in table
    assert sum("cannot saturate" in line for line in lines) == len(certificate["products"])
    total = sum(len(certificate[section]) for section in ("bounds", "tables", "products"))
    assert lines[-1] == f"checked independently: {total} of {total} bounds agree"
    assert {entry["value"] for entry in certificate["bounds"]} == set(small_graph.types)


def test_the_certificate_as_json(cli, small_artifact):
    data = cli("inspect", small_artifact, "--certificate", "--json").data
    certificate = read_manifest(small_artifact)["certificate"]
    assert data == {"certificate": certificate, "checked": sum(len(certificate[part]) for part in ("bounds", "tables", "products"))}


@pytest.mark.parametrize("command", [("inspect", "--certificate"), ("verify",)])
def test_a_certificate_that_lies_is_refused(cli, changeable, command):
    manifest = read_manifest(changeable)
    manifest["certificate"]["bounds"][5]["high"] += 1
    write_manifest(changeable, manifest)
    for flags in ((), ("--allow-modified",)):
        outcome = cli(command[0], changeable, *command[1:], *flags)
        assert outcome.code == 4
        assert "DS2TA-170" in outcome.err
        assert manifest["certificate"]["bounds"][5]["value"] in outcome.err
        assert outcome.out == ""


@pytest.mark.parametrize("command", [("inspect", "--certificate"), ("verify",)])
def test_another_graph_is_not_the_certified_one_even_with_its_hash_in_the_manifest(cli, changeable, small_graph, command):
    (op,) = [op for op in small_graph if op.name == "blocks.0.mlp.fc1.weights"]
    weight = op.weight.copy()
    weight[0, 0] -= 1
    rewrite(changeable, GRAPH, serialize.to_bytes(replaced(small_graph, op.name, weight=weight)), rehash=True)
    outcome = cli(command[0], changeable, *command[1:])
    assert outcome.code == 4
    assert "DS2TA-170" in outcome.err


def test_a_manifest_without_a_certificate_says_to_export_again(cli, changeable):
    manifest = read_manifest(changeable)
    del manifest["certificate"]
    write_manifest(changeable, manifest | {"schema": "ds2ta-artifact/1"})
    outcome = cli("inspect", changeable)
    assert outcome.is_error(4, "DS2TA-151")
    assert "export again" in outcome.err


def test_names_in_a_certificate_cannot_reach_the_terminal_raw(cli, changeable):
    manifest = read_manifest(changeable)
    manifest["certificate"]["tables"][0]["op"] = "evil\x1b[31m"
    write_manifest(changeable, manifest)
    outcome = cli("inspect", changeable, "--certificate")
    assert outcome.code == 4
    assert "\x1b" not in outcome.err


def test_a_terminal_that_cannot_draw_lines_gets_ascii(small_artifact):
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "ds2ta_deploy.cli.main", "inspect", str(small_artifact)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    assert " `- " in done.stdout
