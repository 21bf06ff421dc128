"""The text of ``model.h``, ``model.c``, ``model_data.h`` and ``model_data.c``."""

from dataclasses import dataclass

from ds2ta_deploy import __version__
from ds2ta_deploy.c_code.calls import Call
from ds2ta_deploy.c_code.kernels import Writer
from ds2ta_deploy.c_code.memory import TYPES
from ds2ta_deploy.c_code.program import Program
from ds2ta_deploy.c_code.text import array, block, identifier, shown
from ds2ta_deploy.graph import ops

_MADE_BY = f"written by ds2ta-deploy {__version__}; do not edit"

_HEADER = """\
/*
 * {name}: an integer spiking network, {made_by}.
 *
 * Give it memory for one ds2ta_state, anywhere; nothing else is needed, and nothing is allocated. Several states are
 * several networks. A sample is {steps} time steps:
 *
 *     static ds2ta_state state;
 *     int32_t logits[DS2TA_CLASSES];
 *     ds2ta_run(&state, {input}, logits);
 *
 * or step by step, as frames come:
 *
 *     ds2ta_init(&state);
 *     while (ds2ta_step(&state, frame) == DS2TA_OK) {{ ... next frame ... }}
 *     ds2ta_logits(&state, logits);
 *
 * The largest logit decides. A state may be copied, stored, and stepped on later, on another processor of the same byte order.
 */
#ifndef DS2TA_MODEL_H
#define DS2TA_MODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

/* Time steps of a sample. All value ranges were proven for so many; a further step is refused. */
#define DS2TA_TIME_STEPS {steps}u

/* Bytes of a frame: [{frame_axes}], a uint8_t each. */
#define DS2TA_FRAME_SIZE {frame_size}u

/* 1: a sample is one still picture, and the first step reads it. 0: every step reads a frame of its own. */
#define DS2TA_STILL {still}

/* Number of logits. */
#define DS2TA_CLASSES {classes}u

/* Steps that are collected before they are computed together; 1: every step is computed as it comes. */
#define DS2TA_CHUNK_STEPS {chunk}u

/* By how many steps the logits lag behind the frames at most. */
#define DS2TA_LATENCY {latency}u

/* Bytes of a ds2ta_state, of which so many are membranes, histories and sums, and so many values of the present step. */
#define DS2TA_RAM_BYTES {ram}u
#define DS2TA_STATE_BYTES {state_bytes}u
#define DS2TA_ARENA_BYTES {arena_bytes}u

/* Bytes of constants: weights, biases, thresholds, tables. Code comes on top. */
#define DS2TA_ROM_BYTES {rom}u

/* All that the network remembers. */
typedef struct {{
    uint32_t step; /* steps taken */
{members}}} ds2ta_state;

typedef enum {{
    DS2TA_OK = 0,
    DS2TA_END = 1 /* DS2TA_TIME_STEPS steps have been taken; begin again with ds2ta_init */
}} ds2ta_status;

/* Forget everything: the next step is the first of a sample. */
void ds2ta_init(ds2ta_state *state);

/* Take one time step with one frame. Nothing is done, and DS2TA_END returned, after the last one. */
ds2ta_status ds2ta_step(ds2ta_state *state, const uint8_t frame[DS2TA_FRAME_SIZE]);

/* Read the logits of the steps so far{latency_note}. */
void ds2ta_logits(const ds2ta_state *state, int32_t logits[DS2TA_CLASSES]);

/* One whole sample: init, all steps, logits. {run_note} */
void ds2ta_run(ds2ta_state *state, const uint8_t {input}[], int32_t logits[DS2TA_CLASSES]);

#ifdef DS2TA_TRACE
/*
 * For tests: with DS2TA_TRACE defined the network tells every value as it is computed, in memory order, through functions
 * that the test provides. `value` counts the values in the order of the network's graph.
 */
#define DS2TA_TRACED_VALUES {traced}u
void ds2ta_trace_u8(uint32_t value, const uint8_t elements[], uint32_t count);
void ds2ta_trace_i16(uint32_t value, const int16_t elements[], uint32_t count);
void ds2ta_trace_i32(uint32_t value, const int32_t elements[], uint32_t count);
#endif

#ifdef __cplusplus
}}
#endif

#endif
"""


def header(program: Program) -> str:
    """Return ``model.h``."""
    graph, timing, memory = program.graph, program.timing, program.memory
    still = graph.input_type.shape[0] is None
    layout = program.layouts[graph.input_name]
    members = [f"{TYPES[dtype][1]} {TYPES[dtype][0]}[{size}];" for dtype, size in memory.sizes.items() if size]
    return _HEADER.format(
        name=shown(graph.name),
        made_by=_MADE_BY,
        steps=timing.steps,
        input="picture" if still else "frames",
        frame_axes="][".join(map(str, layout.sizes)),
        frame_size=layout.elements,
        still=int(still),
        classes=program.readout.weight.shape[0],
        chunk=timing.chunk,
        latency=timing.chunk - 1,
        latency_note=f"; they change at every {timing.chunk}th step only" if timing.chunk > 1 else "",
        ram=program.state_struct_bytes,
        state_bytes=memory.state_bytes,
        arena_bytes=memory.arena_bytes,
        rom=program.constant_bytes,
        members=block(members),
        run_note="Reads one picture." if still else "Reads DS2TA_TIME_STEPS frames, one behind the other.",
        traced=len(program.traced),
    )


def data_header(program: Program) -> str:
    """Return ``model_data.h``."""
    lines = [
        f"/* The constants of {shown(program.graph.name)}, {_MADE_BY}. */",
        "#ifndef DS2TA_MODEL_DATA_H",
        "#define DS2TA_MODEL_DATA_H",
        "",
    ]
    lines += ["#include <stdint.h>", ""]
    lines += [f"extern const {values.dtype}_t {name}[{len(values)}];" for name, values in program.constants.items()]
    return "\n".join([*lines, "", "#endif", ""])


def data(program: Program) -> str:
    """Return ``model_data.c``."""
    parts = [f"/* The constants of {shown(program.graph.name)}, {_MADE_BY}. Weights are [input][output]. */\n"]
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


@dataclass(frozen=True)
class _Function:
    """A call as a function of C.

    Attributes:
        call: what it runs.
        name: in C.
        reads: names of its arguments besides the state.
        text: its definition.

    """

    call: Call
    name: str
    reads: tuple[str, ...]
    text: str

    def called(self, time: str = "t") -> str:
        """Return the statement that calls it for a time step."""
        arguments = {"frame": "frame", "t": time}
        return f"{self.name}({', '.join(['state', *(arguments[name] for name in self.reads)])});"


def source(program: Program) -> str:
    """Return ``model.c``."""
    functions = [_function(program, index, call) for index, call in enumerate(program.calls)]
    return "\n".join([_opening(program), *(function.text for function in functions), _step(program, functions), _closing(program)])


def _opening(program: Program) -> str:
    macros = "".join(
        f"#define TRACE_{suffix.upper()}(value, elements, count) ds2ta_trace_{suffix}((value), (elements), (count))\n"
        for suffix in ("u8", "i16", "i32")
    )
    silent = "".join(f"#define TRACE_{suffix.upper()}(value, elements, count)\n" for suffix in ("u8", "i16", "i32"))
    return (
        f"/* What {shown(program.graph.name)} computes, {_MADE_BY}. Each function is a part of the network;\n"
        " * the numbers are places in the state's arrays, planned so that values share memory when no step needs both. */\n"
        '#include "model.h"\n#include "model_data.h"\n#include "ds2ta_kernels.h"\n\n'
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


def _function(program: Program, index: int, call: Call) -> _Function:
    """Write the function of a call."""
    writer = Writer(program, call)
    lines = []
    for op in call.ops:
        lines.append(writer.statement(op))
        for name in reversed(op.outputs):
            if name in program.memory.values:
                count = program.layouts[name].row if call.by_row else program.layouts[name].elements
                suffix = TYPES[program.memory.values[name].dtype][0]
                lines.append(f"TRACE_{suffix.upper()}({program.traced.index(name)}u, {writer.place(name)}, {count}u);")
    body = block(lines)
    if call.by_row:
        rows = program.layouts[call.ops[0].outputs[0]].in_memory[0]
        body = f"    for (uint32_t row = 0u; row < {rows}u; row++) {{\n{block(lines, ' ' * 8)}    }}\n"
    parameters = {"frame": "const uint8_t frame[]", "t": "uint32_t t"}
    reads = tuple(name for name in parameters if name in writer.reads)
    name = identifier(call.ops[-1].name, index)
    kinds = ", ".join(type(op).__name__ for op in call.ops)
    heading = f"/* {shown(call.ops[-1].name)}: {kinds} */\nstatic void {name}"
    declared = ", ".join(["ds2ta_state *state", *(parameters[name] for name in reads)])
    return _Function(call, name, reads, f"{''.join(writer.shapes)}{heading}({declared})\n{{\n{body}}}\n")


def _step(program: Program, functions: list[_Function]) -> str:
    """Return ``ds2ta_step``: what runs when."""

    def chosen(rate: str, phase: int, time: str = "t") -> list[str]:
        found = [function for function in functions if (function.call.moment.rate, function.call.moment.phase) == (rate, phase)]
        return [function.called(time) for function in found]

    first, each = chosen("once", 0), chosen("frame", 0)
    lines = [] if any("frame" in function.reads for function in functions) else ["(void)frame;"]
    if program.timing.phases > 1 or any("t" in function.reads for function in functions):
        lines.append("const uint32_t t = state->step;")
    if first:
        lines += ["if (state->step == 0u) {", *(f"    {statement}" for statement in first), "}"]
    lines += each
    if program.timing.phases > 1:
        lines.append("if ((t % DS2TA_CHUNK_STEPS) == (DS2TA_CHUNK_STEPS - 1u)) { /* a chunk is full */")
        for phase in range(1, program.timing.phases):
            lines += [f"    {statement}" for statement in chosen("chunk", phase, "t / DS2TA_CHUNK_STEPS")]
            late = [f"        {statement}" for statement in chosen("frame", phase, "late")]
            if late:
                lines += ["    for (uint32_t late = t - (DS2TA_CHUNK_STEPS - 1u); late <= t; late++) {", *late, "    }"]
        lines.append("}")
    lines += ["state->step++;", "status = DS2TA_OK;"]
    body = [
        "ds2ta_status status = DS2TA_END;",
        "if (state->step < DS2TA_TIME_STEPS) {",
        *(f"    {line}" for line in lines),
        "}",
        "return status;",
    ]
    return f"ds2ta_status ds2ta_step(ds2ta_state *state, const uint8_t frame[DS2TA_FRAME_SIZE])\n{{\n{block(body)}}}\n"


def _closing(program: Program) -> str:
    """Return ``ds2ta_init``, ``ds2ta_logits`` and ``ds2ta_run``."""
    arrays = [(TYPES[dtype][0], size) for dtype, size in program.memory.sizes.items() if size]
    clearing = [
        line for suffix, size in arrays for line in (f"for (uint32_t i = 0u; i < {size}u; i++) {{", f"    state->{suffix}[i] = 0;", "}")
    ]
    readout: ops.Readout = program.readout
    total = program.memory.state[readout.name, "total"].offset
    bias = program.constant(readout, "bias")
    still = program.graph.input_type.shape[0] is None
    source, given = ("picture", "picture") if still else ("frames", "&frames[t * DS2TA_FRAME_SIZE]")
    logits = ["for (uint32_t c = 0u; c < DS2TA_CLASSES; c++) {", f"    logits[c] = state->i32[{total}u + c] + {bias}[c];", "}"]
    run = ["ds2ta_init(state);", "for (uint32_t t = 0u; t < DS2TA_TIME_STEPS; t++) {", f"    (void)ds2ta_step(state, {given});", "}"]
    run.append("ds2ta_logits(state, logits);")
    return (
        f"void ds2ta_init(ds2ta_state *state)\n{{\n{block(['state->step = 0u;', *clearing])}}}\n\n"
        f"void ds2ta_logits(const ds2ta_state *state, int32_t logits[DS2TA_CLASSES])\n{{\n{block(logits)}}}\n\n"
        f"void ds2ta_run(ds2ta_state *state, const uint8_t {source}[], int32_t logits[DS2TA_CLASSES])\n{{\n{block(run)}}}\n"
    )
