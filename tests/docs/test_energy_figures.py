"""The tables of docs/energy.md, and what its sentences take from them."""

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install 'ds2ta-deploy[torch]'")

from benchmarks.energy import measure, table_of_networks, table_of_paper
from ds2ta_deploy.energy.attention import PAPER_ACCUMULATE, PAPER_OPERATIONS, paper_table
from ds2ta_deploy.energy.constants import FLOAT, INTEGER
from ds2ta_deploy.energy.measure import energy_pj

EXAMPLE = Path(__file__).parents[2] / "examples" / "fashion_mnist"


def test_the_papers_table(figures):
    figures.check_table("energy: paper", table_of_paper())
    rows = paper_table()
    printed = [pair for row in rows for pair in ((row.energy_before, row.sparsity_before), (row.energy_after, row.sparsity_after))]
    least = max((energy - 0.005) / (1 - sparsity / 100) for energy, sparsity in printed)
    most = min((energy + 0.005) / (1 - sparsity / 100) for energy, sparsity in printed)
    assert least < PAPER_ACCUMULATE * PAPER_OPERATIONS / 1000 < most
    figures.check(
        "what the paper's table says",
        least=least,
        most=most,
        operations=PAPER_OPERATIONS,
        accumulate=PAPER_ACCUMULATE,
        float32=FLOAT.accumulate,
        other=round((least + most) / 2 / FLOAT.accumulate * 1000, -2),
        third=rows[2].saving_unrounded,
        printed=rows[2].saving,
    )


def test_constants(figures):
    integers = {"integer_ac": INTEGER.accumulate, "integer_mac": INTEGER.multiply_accumulate}
    figures.check("energy constants", **integers, float_ac=FLOAT.accumulate, float_mac=FLOAT.multiply_accumulate)


def networks(*names):
    return [measure(EXAMPLE / f"{name}.safetensors", EXAMPLE / "ds2ta-2-64.npz", 256) for name in names]


def share(report, end):
    """Return the energy of the populations whose names end so, in percent of all."""
    of = [layer.operations for layer in report.layers if layer.name.endswith(end)]
    assert len(of) == 2
    return 100 * sum(map(energy_pj, of)) / energy_pj(report.total)


@pytest.mark.slow
def test_our_networks(figures):
    measured = networks("ds2ta-2-64", "ds2ta-2-64-sparse", "spikformer-2-64", "statten-2-64")
    figures.check_table("energy: our networks", table_of_networks(measured))
    ours = measured[0].report
    assert all(each.zeros_before == each.zeros_after for each in ours.maps)  # "drops no entry of a map at all"
    figures.check("where the energy goes", attention=share(ours, ".attn"), mlp=share(ours, ".mlp.fc1"))


def saved(part, without):
    return 100 * (1 - part / without)


@pytest.mark.slow
def test_ablation(figures):
    measured = networks(*(f"ablation/{name}" for name in ("full", "no-nsad", "no-tasa", "neither")))
    figures.check_table("energy: ablation", table_of_networks(measured))
    full, no_nsad, no_tasa, neither = (each.report for each in measured)
    maps = [
        saved(1 - part.sparsity, 1 - without.sparsity)
        for one, other in ((full, no_nsad), (no_tasa, neither))
        for part, without in zip(one.maps, other.maps, strict=True)
    ]
    windows = 100 * INTEGER.accumulate * full.total.window_additions / energy_pj(full.total)
    figures.check(
        "what the parts save",
        **dict(zip(("first", "second", "bare_first", "bare_second"), maps, strict=True)),
        whole=saved(energy_pj(full.total), energy_pj(no_nsad.total)),
        bare_whole=saved(energy_pj(no_tasa.total), energy_pj(neither.total)),
        windows=windows,
    )
