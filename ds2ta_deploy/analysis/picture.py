"""The analysis as bars: weight errors, spike flips, decisions."""

import importlib.util
from pathlib import Path
from typing import Any

from ds2ta_deploy.analysis.results import Analysis, Effect, LayerAnalysis
from ds2ta_deploy.errors import MissingRuntimeError, Problem, UsageError
from ds2ta_deploy.staging import whole_file

#: Kinds of pictures that are written.
SUFFIXES = (".svg", ".png")


def require_drawing(path: Path) -> None:
    """Check before any work that a picture can be drawn.

    Raises:
        UsageError: DS2TA-530 when its name ends in none of the known kinds.
        MissingRuntimeError: DS2TA-411 with the installing command when matplotlib is not installed.

    """
    if path.suffix not in SUFFIXES:
        raise UsageError(Problem("DS2TA-530", "is no kind of picture that is drawn", str(path), f"end its name in {' or '.join(SUFFIXES)}"))
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingRuntimeError(Problem("DS2TA-411", "drawing needs matplotlib", mend="pip install 'ds2ta-deploy[plot]'"))


def draw(analysis: Analysis, path: Path) -> None:
    """Draw a line a layer and a panel a question: weight error, spike flips, changed decisions, alone and cumulated.

    The file appears when it is whole.

    Raises:
        UsageError: DS2TA-502 when it cannot be written.

    """
    import matplotlib as mpl

    mpl.use("svg" if path.suffix == ".svg" else "agg")
    mpl.rcParams["svg.hashsalt"] = "ds2ta"  # the same analysis gives the same bytes
    import matplotlib.pyplot as plt

    layers = analysis.layers
    rows = range(len(layers))
    figure, panels = plt.subplots(1, 3, figsize=(13, 1 + 0.27 * len(layers)), sharey=True, layout="constrained")
    panels[0].barh(rows, [100 * (layer.weight_error or 0.0) for layer in layers], color="#7a8793")
    panels[0].set_title("weight error, %", fontsize=9)
    panels[0].set_yticks(rows, [layer.name for layer in layers])
    panels[0].invert_yaxis()
    _pair(panels[1], "spike flips, %", layers, lambda layer, effect: _flips(analysis, layer, effect))
    _pair(panels[2], "changed decisions, %", layers, lambda _, effect: 100 * (1 - effect.same_decisions / analysis.samples))
    panels[2].legend(fontsize=8)
    for panel in panels:
        panel.tick_params(labelsize=8)
        panel.margins(x=0.08)
    try:
        with whole_file(path) as file:
            figure.savefig(file, format=path.suffix[1:], metadata={"Date": None} if path.suffix == ".svg" else {"Software": None})
    finally:
        plt.close(figure)


def _pair(panel: Any, title: str, layers: tuple[LayerAnalysis, ...], share: Any) -> None:
    """Draw both effects of every layer."""
    for offset, name, color in ((-0.2, "alone", "#c25b2c"), (0.2, "cumulative", "#38506b")):
        panel.barh(
            [row + offset for row in range(len(layers))],
            [share(layer, getattr(layer, name)) for layer in layers],
            height=0.4,
            label=name,
            color=color,
        )
    panel.set_title(title, fontsize=9)


def _flips(analysis: Analysis, layer: LayerAnalysis, effect: Effect) -> float:
    return 0.0 if layer.spikes is None else 100 * effect.spike_flips / analysis.compared[layer.spikes]
