"""Energy of attention maps by the paper's formula, and the paper's own table by its own sparsities."""

from dataclasses import dataclass

#: Picojoules of an accumulate that the table implies: it gives only the product with the number of operations, 29.87 to
#: 29.90 nJ, and never the factors. With ``N^2 D`` operations, one time step, this is the other factor.
PAPER_ACCUMULATE = 0.0190

#: ``N^2 D`` of DS2TA-4-384: 64 tokens of width 384.
PAPER_OPERATIONS = 64 * 64 * 384

#: Sparsity in percent of each block's map in Table 3, of the baseline and with the denoiser.
PAPER_SPARSITIES = ((74.26, 96.99), (76.82, 97.82), (78.98, 98.14), (82.64, 98.59))


@dataclass(frozen=True)
class PaperRow:
    """One block of Table 3; energies and saving as they are printed.

    Attributes:
        block: its number.
        sparsity_before: of the baseline's map, percent.
        sparsity_after: of the denoised map, percent.
        energy_before: nJ, two decimals.
        energy_after: nJ, two decimals.
        saving: percent, one decimal, of the two energies as they are printed.
        saving_unrounded: percent, of the sparsities alone: ``1 - (1 - s) / (1 - s_0)``.

    """

    block: int
    sparsity_before: float
    sparsity_after: float
    energy_before: float
    energy_after: float
    saving: float
    saving_unrounded: float


def map_energy_nj(accumulate: float, operations: float, sparsity: float) -> float:
    """``E_AC * operations * (1 - sparsity)`` in nanojoules, of picojoules and a share.

    Example:
        >>> round(map_energy_nj(0.0190, 64 * 64 * 384, 0.7426), 2)
        7.69

    """
    return accumulate * operations * (1.0 - sparsity) / 1000.0


def paper_table() -> tuple[PaperRow, ...]:
    """Return Table 3 of the paper, computed from its sparsities.

    The paper divides the energies as it prints them: of the third block, the sparsities alone give 91.15 percent, the
    printed energies 91.1.
    """
    rows = []
    for block, sparsities in enumerate(PAPER_SPARSITIES):
        before, after = (round(map_energy_nj(PAPER_ACCUMULATE, PAPER_OPERATIONS, percent / 100), 2) for percent in sparsities)
        unrounded = 100 * (1 - (100 - sparsities[1]) / (100 - sparsities[0]))
        rows.append(PaperRow(block, *sparsities, before, after, round(100 * (1 - after / before), 1), unrounded))
    return tuple(rows)
