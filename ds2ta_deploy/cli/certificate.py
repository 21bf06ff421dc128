"""``ds2ta inspect --certificate``: the certificate in lines, columns aligned."""

from collections.abc import Iterator, Sequence

from ds2ta_deploy.certificate import Certificate, TableIndex


def describe(certificate: Certificate, checked: int) -> Iterator[str]:
    """Yield the lines; ``checked`` is the number of entries that were derived again and agree."""
    yield f"proved for every possible input, profile {certificate.profile}, graph sha256 {certificate.graph}"
    yield ""
    yield "bounds: proven interval, two's-complement bits it needs, bits there are"
    yield from _aligned(
        (entry.value, entry.kind, f"[{entry.low}, {entry.high}]", f"{entry.bits} of {entry.available} bits", f"{entry.margin} to spare")
        for entry in certificate.bounds
    )
    yield ""
    yield "tables: reachable indices, entries there are"
    yield from _aligned(
        (entry.op, f"[{entry.low}, {entry.high}]", f"table 0..{entry.entries - 1}", _reason(entry)) for entry in certificate.tables
    )
    yield ""
    yield "products of uint8 by int8: a kernel that adds two of them in 16 bits saturates beyond 32767"
    yield from _aligned(
        (
            entry.op,
            entry.part,
            f"[{entry.unsigned[0]}, {entry.unsigned[1]}] x [{entry.signed[0]}, {entry.signed[1]}]",
            f"|a0 w0 + a1 w1| <= {entry.pair}",
            "cannot saturate" if entry.margin >= 0 else "COULD SATURATE",
        )
        for entry in certificate.products
    )
    yield ""
    total = len(certificate.bounds) + len(certificate.tables) + len(certificate.products)
    yield f"checked independently: {checked} of {total} bounds agree"


def _reason(entry: TableIndex) -> str:
    """Say why no index leaves the table."""
    if entry.terms:
        return f"a sum of {entry.terms} products of at most {entry.largest}"
    return "one uint8"


def _aligned(rows: Iterator[Sequence[str]]) -> Iterator[str]:
    """Yield the rows with columns of equal width, two spaces in front and between."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield "  ".join(["", *(cell.ljust(width) for cell, width in zip(row, widths, strict=True))]).rstrip()
