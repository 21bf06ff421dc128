"""The C files of a network that say what it computes, and where they are in an artifact."""

from pathlib import Path

from ds2ta_deploy.c_code import header, model
from ds2ta_deploy.c_code.program import Program, build_program
from ds2ta_deploy.graph.graph import Graph

#: Directory of an artifact that holds the C code.
C = "c"

#: The kernels, the same for every network.
KERNELS = ("ds2ta_kernels.h", "ds2ta_kernels.c")

#: The file that differs where only a number of the network does.
DATA = "model_data.c"

SOURCES = Path(__file__).parent / "sources"


def program_files(graph: Graph) -> dict[str, bytes]:
    """Return the files that have to be compiled, by name relative to :data:`C`; equal graphs give equal bytes.

    Raises:
        UnsupportedError: as :func:`build_program`.

    """
    return files_of(build_program(graph))


def files_of(program: Program) -> dict[str, bytes]:
    """Return the files of a planned program."""
    texts = {
        "model.h": header.header(program),
        "model.c": model.source(program),
        "model_data.h": model.data_header(program),
        DATA: model.data(program),
    }
    return {name: text.encode() for name, text in texts.items()} | {name: (SOURCES / name).read_bytes() for name in KERNELS}
