"""What the network would take of neuromorphic chips."""

from ds2ta_deploy.fit import Fit, PopulationFit
from ds2ta_deploy.pages.parts import Block, Cell, Code, Mark, Section, Table, Text


def chips(fits: tuple[Fit, ...]) -> Section:
    """Show one estimate a chip, as ``ds2ta report --target`` prints it."""
    blocks: list[Block] = [
        Text("Estimated from published limits; nothing was run on a chip. Axons, routing and microcode are not counted."),
        Table(
            "Estimates",
            ("chip", "cores, tokens share weights", "chips", "cores, a copy a token", "chips ", "every population has a form there"),
            tuple(
                (
                    fit.chip.name,
                    fit.cores_shared,
                    fit.chips_shared,
                    fit.cores_unshared,
                    fit.chips_unshared,
                    Mark("yes" if fit.fits else "no", "good" if fit.fits else "doubtful"),
                )
                for fit in fits
            ),
        ),
    ]
    for fit in fits:
        blocks += [_misfits(fit), _populations(fit)]
    return Section("chips", "Chips", "What it would take of a neuromorphic chip, and what has no form there.", tuple(blocks))


def _misfits(fit: Fit) -> Table:
    reasons: dict[str, list[str]] = {}
    for entry in fit.populations:
        for problem in entry.problems:
            reasons.setdefault(problem, []).append(entry.name)
    rows = tuple((reason, ", ".join(names)) for reason, names in reasons.items())
    return Table(f"What has no form on {fit.chip.name}", ("reason", "populations"), rows, folded=True)


def _populations(fit: Fit) -> Table:
    columns = (
        "population",
        "neurons",
        "synapses",
        "weight bits",
        "state bits",
        "payload bits",
        "bytes of weights",
        "bytes of state",
        "cores",
    )
    return Table(f"Populations on {fit.chip.name}", columns, tuple(_row(entry) for entry in fit.populations), folded=True)


def _row(entry: PopulationFit) -> tuple[Cell, ...]:
    sizes = (entry.neurons, entry.synapses, entry.weight_bits, entry.state_bits, entry.payload_bits, entry.shared_bytes, entry.state_bytes)
    cores = (
        "outside"
        if entry.place == "outside"
        else f"{max(count for limit, count in entry.cores.items() if not limit.endswith('_unshared')):,}"
    )
    return (Code(entry.name), *sizes, cores)
