"""The text of ``model.h``."""

from ds2ta_deploy import __version__
from ds2ta_deploy.c_code.memory import TYPES
from ds2ta_deploy.c_code.program import Program
from ds2ta_deploy.c_code.text import block, shown

MADE_BY = f"written by ds2ta-deploy {__version__}; do not edit"

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
 * or {endless}, as frames come:
 *
 *     ds2ta_init(&state);
 *     while (ds2ta_step(&state, frame) == DS2TA_OK) {{
 *         ds2ta_logits(&state, logits);     at any time: of the steps that are summed up
 *         ds2ta_begin_sum(&state);          now and then: the next decision
 *     }}
 *
 * The largest logit decides. A state may be copied, stored, and stepped on later, on another processor of the same byte order.
 */
#ifndef DS2TA_MODEL_H
#define DS2TA_MODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

/* Time steps of a sample, for which the network was trained. */
#define DS2TA_TIME_STEPS {steps}u

/* Steps that a run may have until ds2ta_init, for which all value ranges were proven; 0: it may go on for ever. */
#define DS2TA_LONGEST_RUN {longest}u

/* Steps that the logits may sum up until ds2ta_begin_sum, for which their range was proven. */
#define DS2TA_LONGEST_SUM {longest_sum}u

/* Bytes of a frame: [{frame_axes}], a uint8_t each. */
#define DS2TA_FRAME_SIZE {frame_size}u

/* 1: a sample is one still picture, shown at every step. 0: every step of a sample has a frame of its own. */
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
    uint32_t step; /* {step_note} */
    uint32_t summed; /* steps that the logits sum up */
{members}}} ds2ta_state;

typedef enum {{
    DS2TA_OK = 0,
    DS2TA_END = 1, /* the run has DS2TA_LONGEST_RUN steps: begin again with ds2ta_init */
    DS2TA_SUM_FULL = 2, /* the logits sum up DS2TA_LONGEST_SUM steps: read them, and go on with ds2ta_begin_sum */
    DS2TA_NO_FRAME = 3 /* there is no frame{no_frame_note} */
}} ds2ta_status;

/* Forget everything: the next step is the first of a run. */
void ds2ta_init(ds2ta_state *state);

/*
 * Take one time step with one frame of DS2TA_FRAME_SIZE bytes{null_note}.
 * Nothing is done, and the state stays as it is, unless DS2TA_OK is returned.
 */
ds2ta_status ds2ta_step(ds2ta_state *state, const uint8_t *frame);

/* Read the logits of the steps since the sum began{latency_note}. */
void ds2ta_logits(const ds2ta_state *state, int32_t logits[DS2TA_CLASSES]);

/* Let the logits sum up what comes from now on; everything else is remembered. */
void ds2ta_begin_sum(ds2ta_state *state);

/* One whole sample: init, DS2TA_TIME_STEPS steps, logits. {run_note} */
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
        made_by=MADE_BY,
        steps=timing.steps,
        longest=program.form.longest or 0,
        longest_sum=program.longest_sum,
        endless="step by step" if program.form.longest is not None else "for ever, step by step",
        step_note="steps taken"
        if program.form.longest is not None
        else "0 before the first step; from then on only the place in a chunk counts",
        no_frame_note=", and no picture to show again" if program.repeats_a_picture else "",
        null_note="; NULL shows the picture of the step before once more" if program.repeats_a_picture else "",
        input="picture" if still else "frames",
        frame_axes="][".join(map(str, layout.sizes)),
        frame_size=layout.elements,
        still=int(still),
        classes=program.readout.weight.shape[0],
        chunk=timing.chunk,
        latency=timing.chunk - 1,
        latency_note=f"; they change at every {timing.chunk}th step only" if timing.chunk > 1 else "",
        ram=program.state_struct.itemsize,
        state_bytes=memory.state_bytes,
        arena_bytes=memory.arena_bytes,
        rom=program.constant_bytes,
        members=block(members),
        run_note="Reads one picture." if still else "Reads DS2TA_TIME_STEPS frames, one behind the other.",
        traced=len(program.traced),
    )
