"""What the tests of the Lava target share. Needs neither Lava nor PyTorch."""

from pathlib import Path

from ds2ta_deploy.exporters.lava import to_lava
from ds2ta_deploy.graph.graph import Graph


def write_export(graph: Graph, directory: Path) -> Path:
    """Write the files of the export and return the directory that holds them."""
    for name, data in to_lava(graph).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory / "lava"
