"""A graph and the versions in ``constraints.txt`` give the same artifact, byte for byte, on Python 3.11, 3.12 and 3.13."""

import hashlib

import pytest
from builders import build_small_graph, small_inputs
from support import files_of, frozen, read_manifest

from ds2ta_deploy.artifact import MANIFEST, encode_json
from ds2ta_deploy.exporting import export

#: SHA-256 of every file. They change when the exporter, the report or a writer's version does, and never with Python's.
EXPECTED: dict[str, dict[str, str]] = {
    "images": {
        "graph.safetensors": "bb7654d6ffdd94c8ac8f1110adadc4cabb2af679d70458dbb3591255df823f38",
        "manifest.json": "2896424db47ce4c6af4189a4dc11188aa617f203078d72d77b7242558549d12b",
        "model.onnx": "c8b46d6d0492afd2c3b8496f654185b05627ca7689efa5d19320b15cdb47b1ac",
        "report.json": "27184f266147f94487ad0189cc85cce5b3f5979234241cc2df754715e1041a6a",
        "vectors/expected.npz": "2bdd089ad37ff3496ff14ba67bf21e771a0b1e1f0c49d54f11debcbdd5346837",
        "vectors/hashes.json": "414a5f10cac9e756a0e4f49d025803531ac74e07d550a3a30a65eff2fb87d9cb",
        "vectors/inputs.npz": "2b7d5fbe75be7b4c58157d87a08384f7a604e0ee2f509a954ea67750753c71d8",
    },
    "frames, inlined": {
        "graph.safetensors": "4b115cb1abbd15b5f5c40ecaae4e75ccc8bc3c12dc6e996fac9d84aea51af1cd",
        "manifest.json": "0fa9aa4a382ba551eb2689bbdb7360c18bdc2e1897c49790b865fa9f70ff2651",
        "model.onnx": "1e8b931dc813f5dd65bd08205693ec6153d81be003b3a3b415ea21ab53b037d8",
        "report.json": "ab048b311a1561081b199d6830738a8e4f563ee073461e5b07d3a2f676709616",
        "vectors/expected.npz": "0d5ca4ca5dabc66881a546e571c6acd9312e7d1b10327e655dfeec058cf098db",
        "vectors/hashes.json": "91b5d20c6bdc1cdc466403a125bd0f68fc84316c6c31ab358bc08b99c56e7805",
        "vectors/inputs.npz": "f01eb21f57df5ec9bdd35dc788d0eeb2ed7a57b267d14568c76629744e796755",
    },
}


def hashes(out, *, still, inline) -> dict[str, str]:
    """Export a graph made by hand and return the hash of every file; of the manifest without what differs by installation."""
    export(frozen(build_small_graph(still=still)), "onnx", out, inputs=small_inputs(still=still), inline=inline)
    manifest = {name: value for name, value in read_manifest(out).items() if name not in ("versions", "seal")}
    files = files_of(out) | {MANIFEST: encode_json(manifest)}
    return {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}


@pytest.mark.parametrize("form", ["images", "frames, inlined"])
def test_every_python_writes_the_same_bytes(tmp_path, form):
    assert hashes(tmp_path / "out", still=form == "images", inline=form != "images") == EXPECTED[form]
