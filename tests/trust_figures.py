"""Figures of docs/trust.md and SECURITY.md: faults that verification notices, killed exports."""

from figures import Figure, Phrase

_TRUST = "docs/trust.md"
_FAULTS = "tests/faults/test_faults.py"
_BUNDLED_FAULTS = "tests/faults/test_bundled_faults.py"

#: File as the tests call it -> as the page does.
_FILES = {"graph.safetensors": "`graph.safetensors`", "model.onnx": "`model.onnx`", "lava": "`lava/`"}


def _faults(row: str) -> Figure:
    numbers = "{tried:,} | {caught:,} | {refused:,} | {by_spikes:,} | {equivalent:,} | {unexcited:,} | {score:.2f}"
    return Figure(_FAULTS, (Phrase(_TRUST, f"| {row} | {numbers} |"),))


def _bundled_faults(row: str) -> Figure:
    numbers = "{tried:,} | {caught:,} | {equivalent:,} | {unshown:,} | {score:.2f}"
    return Figure(_BUNDLED_FAULTS, (Phrase(_TRUST, f"| {row} | {numbers} |"),))


_FAULTS_FOUND = {
    "faults: graph.safetensors, off by one": _faults("`graph.safetensors`, every integer off by one"),
    **{f"faults: {file}, off by one": _faults(f"{shown}, integers off by one") for file, shown in list(_FILES.items())[1:]},
    **{f"faults: {file}, flipped bits": _faults(f"{shown}, flipped bits") for file, shown in _FILES.items()},
    **{f"faults: {file}, structure": _faults(f"{shown}, structure") for file, shown in _FILES.items()},
    "faults: model.onnx --inline, structure": _faults("`model.onnx --inline`, structure"),
    **{f"bundled faults: {file}, off by one": _bundled_faults(f"{shown}, some integers off by one") for file, shown in _FILES.items()},
    **{f"bundled faults: {file}, structure": _bundled_faults(f"{shown}, some of the structure") for file, shown in _FILES.items()},
    "golden inputs": Figure(
        _FAULTS,
        (
            Phrase(_TRUST, "its artifact is exported on {pictures} pictures."),
            Phrase(
                _TRUST,
                "On five random pictures {five:.0f} % of such faults in the graph were caught, on 256 random ones {random:.0f} %, "
                "on {pictures} chosen for it {most:.0f} %",
            ),
            Phrase(_TRUST, "found among {pool} random ones"),
        ),
    ),
}

_SECURITY = {
    "kills": Figure(
        "tests/faults/test_kills.py",
        (
            Phrase(
                "SECURITY.md",
                "{all} kills, {steps} of them at steps spread over the whole export and {moments} at random moments: {broken} broken",
            ),
        ),
    ),
    "kills of failing exports": Figure(
        "tests/faults/test_kills.py", (Phrase("SECURITY.md", "{all} more while an earlier failure is replaced: {broken} |"),)
    ),
}

TRUSTED: dict[str, Figure] = {**_FAULTS_FOUND, **_SECURITY}
