/* Values as rows of integers, whatever they are stored as: what the operations on streams are written with. */
#ifndef DS2TA_STREAM_H
#define DS2TA_STREAM_H

#include "plan.h"

static inline int ds2ta_steps_of(const ds2ta_plan *plan, const ds2ta_value *value) { return value->planes ? plan->steps : value->steps; }

/* Rows of a value: tokens of all its steps. */
static inline size_t ds2ta_rows_of(const ds2ta_plan *plan, const ds2ta_value *value) {
    return (size_t)ds2ta_steps_of(plan, value) * (size_t)ds2ta_tokens(value);
}

/* Rows of input `side` that belong to one step of the node's output: a chunk's are those of several steps. */
static inline size_t ds2ta_rows_a_step(const ds2ta_plan *plan, const ds2ta_node *node, int side) {
    return ds2ta_rows_of(plan, plan->values + node->op.inputs[side]) / (size_t)ds2ta_steps_of(plan, plan->values + node->op.output);
}

/* A row of integers of 32 bits, where it lies. */
static inline int32_t *ds2ta_row(const ds2ta_plan *plan, int value, size_t row) {
    const ds2ta_value *v = plan->values + value;
    return (int32_t *)(void *)(plan->arena + v->offset) + row * (size_t)v->channels;
}

/* stream.c: channels [first, first + count) of a row: where they lie, or `room` with the counts. */
const int32_t *ds2ta_fetch(const ds2ta_plan *plan, int value, size_t row, int first, int count, int32_t *room);
/* The planes of a value as four bytes a tile lane would cost too much: one step of a token is written, the steps in order. */
void ds2ta_keep(const ds2ta_plan *plan, int value, int step, int token, const int32_t *integers);

#endif
