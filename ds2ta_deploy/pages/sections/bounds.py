"""Proven ranges, and the bits that are left."""

from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.ranges import ProvenRange, profile_of, prove
from ds2ta_deploy.pages.parts import Bar, Code, Mark, Section, Table, Text


def tightest(graph: Graph) -> ProvenRange:
    """Return the sum or membrane with the fewest bits to spare."""
    wide = [entry for entry in prove(graph, profile_of(graph)) if graph.types[entry.name].dtype == "int32"]
    return min(wide, key=lambda entry: entry.margin)


def bounds(graph: Graph) -> Section:
    """Show what every value is proven to lie in."""
    profile = profile_of(graph)
    rows = tuple(
        (
            Code(entry.name),
            graph.types[entry.name].dtype,
            entry.low,
            entry.high,
            Bar(f"{entry.bits} of {entry.limit}", entry.bits / entry.limit),
            Mark(f"{entry.margin}", "good" if entry.margin >= 4 else "doubtful"),
        )
        for entry in prove(graph, profile)
    )
    return Section(
        "bounds",
        "Ranges and margins",
        f"What every value can be, for every possible input; profile {profile.name} grants {profile.state_bits} bits of state.",
        (
            Text(
                "Proved by interval arithmetic over the weights, not sampled from pictures. The margin is the number of bits that no "
                "input can ever reach; a storage type of spikes has none to lose."
            ),
            Table("Ranges", ("value", "stored as", "smallest", "largest", "bits", "margin"), rows, folded=len(rows) > 30),
        ),
    )
