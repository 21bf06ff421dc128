"""The measurements as bars."""

from pathlib import Path

from benchmarks.outcome import Outcome


def draw(outcome: Outcome, path: Path) -> None:
    """Draw one panel a result: everyone's time, its quartiles, and the dense limit as a line. Needs matplotlib."""
    import matplotlib as mpl

    mpl.use("svg" if path.suffix == ".svg" else "agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(len(outcome.results), squeeze=False, figsize=(9, 3.2 * len(outcome.results)), layout="constrained")
    for panel, result in zip(panels[:, 0], outcome.results, strict=True):
        names = [timing.name for timing in result.timings]
        medians = [timing.median for timing in result.timings]
        spread = [
            [timing.median - timing.low for timing in result.timings],
            [timing.high - timing.median for timing in result.timings],
        ]
        bars = panel.barh(names, medians, xerr=spread, color=["#c25b2c" if "native" in name else "#7a8793" for name in names])
        panel.bar_label(bars, [f"{median:.1f}" for median in medians], padding=4, fontsize=8)
        panel.axvline(result.dense_limit, color="black", linestyle="--", linewidth=1)
        panel.set_title(
            f"{result.network}, batch {result.batch}, threads {result.threads}: ms a call; dashed: dense int8 limit", fontsize=9
        )
        panel.margins(x=0.12)
        panel.tick_params(labelsize=8)
    figure.savefig(path)
    plt.close(figure)
