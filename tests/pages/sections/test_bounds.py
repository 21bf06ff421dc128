from ds2ta_deploy.graph.ranges import profile_of, prove
from ds2ta_deploy.pages.parts import Table
from ds2ta_deploy.pages.sections.bounds import bounds, tightest


def test_the_tightest_sum_is_named_first_and_every_value_is_listed(small_graph):
    proven = {entry.name: entry for entry in prove(small_graph, profile_of(small_graph))}
    tight = tightest(small_graph)
    assert tight.margin == min(entry.margin for name, entry in proven.items() if small_graph.types[name].dtype == "int32")
    layers, every = [block for block in bounds(small_graph).blocks if isinstance(block, Table)]
    assert {row[0].text: (row[2], row[3]) for row in every.rows} == {name: (entry.low, entry.high) for name, entry in proven.items()}
    shown = {row[0].text: proven[f"{row[0].text}.{row[1]}" if f"{row[0].text}.{row[1]}" in proven else row[1]] for row in layers.rows}
    assert tight in shown.values()
    assert shown["blocks.0.attn.k"].margin == min(proven[f"blocks.0.attn.k.{part}"].margin for part in ("product", "current", "membrane"))
