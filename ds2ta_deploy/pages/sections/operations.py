"""How much arithmetic there is, and how little of it a spike asks for."""

from ds2ta_deploy.energy.constants import FLOAT, INTEGER, Constants
from ds2ta_deploy.energy.measure import energy_pj
from ds2ta_deploy.energy.synaptic import Operations
from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.pages.observation import Observation
from ds2ta_deploy.pages.parts import Cell, Code, Section, Table, Text, percent, share_bar
from ds2ta_deploy.pages.work import Work


def total_work(observed: Observation) -> Work:
    """Add all ops up."""
    total = Work()
    for work in observed.work.values():
        total.add(work)
    return total


def operations(graph: Graph, observed: Observation) -> Section:
    """Compare what is done when nothing is skipped with what is done for spikes alone."""
    rows = tuple((Code(name), *_cells(work, observed.samples)) for name, work in observed.work.items())
    total = total_work(observed)
    done = (total.accumulates + total.multiplies) / total.dense if total.dense else 0.0
    samples = observed.samples
    return Section(
        "operations",
        "Sparsity and operations",
        "What an engine that skips zeros adds up, beside what one that skips nothing multiplies.",
        (
            Text(
                f"Of {total.dense // samples:,} multiply-accumulates a sample, {percent(done)} are left when zeros are skipped: "
                f"{round(total.accumulates / samples):,} additions and {round(total.multiplies / samples):,} multiplications, the mean of "
                f"{samples} samples. "
                "An addition is one spike at one neuron that it reaches; a count of three costs three, so a layer that reads sums of "
                "spikes can need more than all. Connections into a convolution's padding do not exist. Pixels are multiplied: they are "
                "no spikes."
            ),
            Text(
                f"Arithmetic alone is {_nanojoules(total, samples, INTEGER):,.0f} nJ a sample with integers, and as papers reckon, in "
                f"float32, {_nanojoules(total, samples, FLOAT):,.0f} nJ; everything multiplied would be "
                f"{INTEGER.multiply_accumulate * total.dense / samples / 1000:,.0f} and "
                f"{FLOAT.multiply_accumulate * total.dense / samples / 1000:,.0f}. An estimate from constants of single operations "
                f"({INTEGER.source}; {FLOAT.source}): memory, routing and the additions of temporal windows are not in it. "
                "`ds2ta energy` counts those, too."
            ),
            Table(
                "A sample, on average",
                ("op", "dense", "additions", "multiplications", "done", "zeros read", "nJ, integers"),
                (*rows, ("all", *_cells(total, samples))),
            ),
        ),
    )


def _cells(work: Work, samples: int) -> tuple[Cell, ...]:
    done = (work.accumulates + work.multiplies) / work.dense if work.dense else 0.0
    counts = (work.dense // samples, round(work.accumulates / samples), round(work.multiplies / samples))
    return (*counts, share_bar(done), share_bar(work.sparsity), f"{_nanojoules(work, samples, INTEGER):,.1f}")


def _nanojoules(work: Work, samples: int, constants: Constants) -> float:
    """Energy of a sample's products."""
    return energy_pj(Operations(work.accumulates, work.multiplies), constants) / samples / 1000
