"""The section on operations and energy says what was counted."""

from builders import assert_fires, trace_of

from ds2ta_deploy.energy.constants import INTEGER
from ds2ta_deploy.energy.measure import measure_energy
from ds2ta_deploy.pages.observation import observe
from ds2ta_deploy.pages.parts import Table, Text
from ds2ta_deploy.pages.sections.operations import operations, total_work


def test_counts_and_energy_are_those_of_the_command(small_graph, small_inputs):
    assert_fires(trace_of(small_graph, small_inputs))
    observed = observe(small_graph, small_inputs)
    section, counted = operations(small_graph, observed), measure_energy(small_graph, small_inputs).total
    total = total_work(observed)
    assert (total.accumulates, total.multiplies) == (counted.effective_acs, counted.effective_macs)
    (table,) = [block for block in section.blocks if isinstance(block, Table)]
    products = INTEGER.accumulate * counted.effective_acs + INTEGER.multiply_accumulate * counted.effective_macs
    assert table.rows[-1][-1] == f"{products / 5 / 1000:,.1f}"
    words = " ".join(block.text for block in section.blocks if isinstance(block, Text))
    assert f"{products / 5 / 1000:,.0f} nJ a sample with integers" in words
    assert INTEGER.source in words
