"""Proven ranges, and the bits that are left."""

from ds2ta_deploy.graph.graph import Graph
from ds2ta_deploy.graph.populations import group
from ds2ta_deploy.graph.ranges import ProvenRange, profile_of, prove
from ds2ta_deploy.pages.parts import Bar, Cell, Code, Mark, Section, Table, Text

#: Bits to spare below which a margin is worth a look: a change of weights may use them up.
_COMFORT = 4


def tightest(graph: Graph) -> ProvenRange:
    """Return the sum or membrane with the fewest bits to spare."""
    return min(_sums(graph).values(), key=lambda entry: entry.margin)


def _sums(graph: Graph) -> dict[str, ProvenRange]:
    """What is held in state: products, currents, membranes, logits; views of them left out."""
    held = {name for name in graph.observable if graph.types[name].dtype == "int32"}
    return {entry.name: entry for entry in prove(graph, profile_of(graph)) if entry.name in held}


def bounds(graph: Graph) -> Section:
    """Show what every value is proven to lie in."""
    profile, sums = profile_of(graph), _sums(graph)
    layers = []
    for population in group(graph):
        held = [sums[name] for op in population.ops for name in op.outputs if name in sums]
        if held:
            entry = min(held, key=lambda entry: entry.margin)
            layers.append((Code(population.name), entry.name.removeprefix(f"{population.name}."), *_cells(entry)))
    every = tuple((Code(entry.name), graph.types[entry.name].dtype, *_cells(entry)) for entry in prove(graph, profile))
    return Section(
        "bounds",
        "Ranges and margins",
        f"What every value can be, for every possible input; profile {profile.name} grants {profile.state_bits} bits of state.",
        (
            Text(
                "Proved by interval arithmetic over the weights, not sampled from pictures. The margin is the number of bits that no "
                "input can ever reach."
            ),
            Table("The widest sum of each layer", ("layer", "value", "smallest", "largest", "bits", "margin"), tuple(layers)),
            Table("Every value", ("value", "stored as", "smallest", "largest", "bits", "margin"), every, folded=True),
        ),
    )


def _cells(entry: ProvenRange) -> tuple[Cell, ...]:
    mark = Mark(f"{entry.margin}", "good" if entry.margin >= _COMFORT else "doubtful")
    return (entry.low, entry.high, Bar(f"{entry.bits} of {entry.limit}", entry.bits / entry.limit), mark)
