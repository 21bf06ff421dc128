"""The Python package that travels with every Lava export: its files, byte for byte."""

from pathlib import Path

#: Directory of an artifact that holds graph, tensors and package.
LAVA = "lava"

#: Name of the package, inside that directory.
PACKAGE = "ds2ta_lava"

#: The command that puts a working Lava in place.
INSTALL = "ds2ta lava install"

_SOURCE = Path(__file__).parent / "exporters" / "lava" / PACKAGE


def package_files() -> dict[str, bytes]:
    """Return relative name -> bytes of every file of the package, ``ds2ta_lava/…``."""
    return {f"{PACKAGE}/{path.relative_to(_SOURCE).as_posix()}": path.read_bytes() for path in sorted(_SOURCE.rglob("*.py"))}
