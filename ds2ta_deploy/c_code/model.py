"""The text of ``model.c``, ``model_data.h`` and ``model_data.c``."""

from ds2ta_deploy.c_code.functions import function
from ds2ta_deploy.c_code.header import MADE_BY
from ds2ta_deploy.c_code.interface import definitions
from ds2ta_deploy.c_code.memory import TYPES
from ds2ta_deploy.c_code.program import Program
from ds2ta_deploy.c_code.text import array, shown


def data_header(program: Program) -> str:
    """Return ``model_data.h``."""
    lines = [
        f"/* The constants of {shown(program.graph.name)}, {MADE_BY}. */",
        "#ifndef DS2TA_MODEL_DATA_H",
        "#define DS2TA_MODEL_DATA_H",
        "",
    ]
    lines += ["#include <stdint.h>", ""]
    lines += [f"extern const {values.dtype}_t {name}[{len(values)}];" for name, values in program.constants.items()]
    return "\n".join([*lines, "", "#endif", ""])


def data(program: Program) -> str:
    """Return ``model_data.c``."""
    parts = [f"/* The constants of {shown(program.graph.name)}, {MADE_BY}. Weights are [input][output]. */\n"]
    parts.append('#include "model_data.h"\n#include "model.h"\n\n')
    total = " + ".join(f"sizeof({name})" for name in program.constants)
    parts.append(
        f"/* Their size is the one announced, or this does not compile. */\n"
        f"typedef char ds2ta_rom_is_as_announced[(({total}) == DS2TA_ROM_BYTES) ? 1 : -1];\n"
    )
    for op in program.graph:
        for role in op.ARRAYS:
            name = program.constant(op, role)
            parts.append(f"\n/* {shown(op.name)} */\n{array(name, program.constants[name])}")
    return "".join(parts)


def source(program: Program) -> str:
    """Return ``model.c``."""
    functions = [function(program, index, call) for index, call in enumerate(program.calls)]
    return "\n".join([_opening(program), *(made.text for made in functions), *definitions(program, functions)])


def _opening(program: Program) -> str:
    macros = "".join(
        f"#define TRACE_{suffix.upper()}(value, elements, count) ds2ta_trace_{suffix}((value), (elements), (count))\n"
        for suffix in ("u8", "i16", "i32")
    )
    silent = "".join(f"#define TRACE_{suffix.upper()}(value, elements, count)\n" for suffix in ("u8", "i16", "i32"))
    return (
        f"/* What {shown(program.graph.name)} computes, {MADE_BY}. Each function is a part of the network;\n"
        " * the numbers are places in the state's arrays, planned so that values share memory when no step needs both. */\n"
        '#include "model.h"\n#include "model_data.h"\n#include "ds2ta_kernels.h"\n#include <stddef.h>\n\n'
        f"#ifdef DS2TA_TRACE\n{macros}#else\n{silent}#endif\n\n"
        f"{_map(program)}\n"
        "/* The state's size is the one announced, or this does not compile. */\n"
        "typedef char ds2ta_ram_is_as_announced[(sizeof(ds2ta_state) == DS2TA_RAM_BYTES) ? 1 : -1];\n"
    )


def _map(program: Program) -> str:
    """Return a comment that tells what lies where, state first; values that share a place are never needed at once."""
    memory = program.memory
    held = [(region, f"{shown(op)}: {role}, from step to step") for (op, role), region in memory.state.items()]
    for number, name in enumerate(program.traced):
        region = memory.values[name]
        extent = ", a row" if region.row_only else f", {region.frames} frames" if region.frames > 1 else ""
        held.append((region, f"{shown(name)}{extent} (traced as {number})"))
    lines = ["/* What lies where in the state's arrays; values that share a place are never needed at once:", " *"]
    for dtype in TYPES:
        of_type = sorted((entry for entry in held if entry[0].dtype == dtype), key=lambda entry: entry[0].offset)
        for region, what in of_type:
            last = region.offset + region.elements * region.frames - 1
            lines.append(f" * {TYPES[dtype][0]}[{region.offset} .. {last}]  {what}")
    return "\n".join([*lines, " */", ""])
