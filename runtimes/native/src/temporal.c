/* Operations on streams that look back in time or count it; and what a run remembers from one step to the next. */
#include "stream.h"

#include <string.h>

/* Time steps, or chunks of them, that an operation took before. */
static int64_t taken(const ds2ta_plan *plan, const ds2ta_value *out) {
    return plan->taken / plan->steps * ds2ta_steps_of(plan, out);
}

/* Rows of integers that an operation remembers, or a neuron's rows of a tile. */
static int slots_of(const ds2ta_op *op) {
    switch (op->kind) {
    case DS2TA_WINDOW: return op->taps - 1;
    case DS2TA_TIME_MIX: return op->entries - 1;
    default: return op->taps;
    }
}

static int fires(const ds2ta_plan *plan, const ds2ta_op *op) {
    int may = op->kind == DS2TA_ENCODE || op->kind == DS2TA_LINEAR || op->kind == DS2TA_CONV || op->kind == DS2TA_ATTENTION || op->kind == DS2TA_NEURON;
    return may && plan->values[op->output].planes;
}

void ds2ta_lay_out_state(ds2ta_plan *plan) {
    plan->weighed = INT64_MAX;
    for (int i = 0; i < plan->node_count; i++) {
        ds2ta_node *node = plan->nodes + i;
        const ds2ta_op *op = &node->op;
        const ds2ta_value *out = op->output < 0 ? NULL : plan->values + op->output;
        if (fires(plan, op)) node->remembered = node->stride_out * slots_of(op);
        if (op->kind == DS2TA_WINDOW || op->kind == DS2TA_TIME_MIX) node->remembered = out->channels * slots_of(op);
        if (op->kind == DS2TA_TIME_MIX || op->kind == DS2TA_COMPARE) {
            int64_t steps = (int64_t)(op->entries / ds2ta_steps_of(plan, out)) * plan->steps;
            plan->weighed = steps < plan->weighed ? steps : plan->weighed;
        }
        node->state = plan->state_size;
        int64_t size = out ? (int64_t)node->remembered * ds2ta_tokens(out) : 0;
        plan->state_size += (size + DS2TA_TILE - 1) / DS2TA_TILE * DS2TA_TILE;
    }
}

/* Left shifts go through unsigned numbers; right shifts floor. */
static int32_t left(int32_t value, int bits) { return (int32_t)((uint32_t)value << bits); }

/* Row of a token `lag` steps before `step`: of the input, else as it is remembered; NULL when there was none. */
static const int32_t *before(const ds2ta_plan *plan, const ds2ta_node *node, const int32_t *state, int step, int lag, int token, int32_t *room) {
    const ds2ta_value *out = plan->values + node->op.output;
    if (lag <= step) {
        size_t row = (size_t)(step - lag) * (size_t)ds2ta_tokens(out) + (size_t)token;
        return ds2ta_fetch(plan, node->op.inputs[0], row, 0, out->channels, room);
    }
    return state ? state + (int64_t)(slots_of(&node->op) + step - lag) * out->channels : NULL;
}

void ds2ta_window(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    const ds2ta_op *op = &node->op;
    const ds2ta_value *out = plan->values + op->output;
    size_t tokens = (size_t)ds2ta_tokens(out), size = (size_t)out->channels * sizeof(int32_t);
    for (int token = low; token < high; token++) {
        int32_t *state = ds2ta_state_of(plan, node, sample, token);
        for (int step = 0; step < out->steps; step++) {
            int32_t *to = ds2ta_row(plan, op->output, (size_t)step * tokens + (size_t)token);
            for (int c = 0; c < out->channels; c++) to[c] = left(node->bias[c], op->guard_bits);
            for (int lag = 0; lag < op->taps; lag++) {
                int shift = op->decay * lag < 31 ? op->decay * lag : 31;
                const int32_t *from = before(plan, node, state, step, lag, token, scratch->room);
                for (int c = 0; from && c < out->channels; c++) to[c] += left(from[c], op->guard_bits) >> shift;
            }
        }
        for (int slot = 0; state && slot < op->taps - 1; slot++)
            memcpy(state + (int64_t)slot * out->channels,
                    before(plan, node, state, out->steps - 1, op->taps - 2 - slot, token, scratch->room), size);
    }
}

void ds2ta_mix_steps(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    const ds2ta_value *out = plan->values + node->op.output;
    size_t tokens = (size_t)ds2ta_tokens(out), size = (size_t)out->channels * sizeof(int32_t);
    int first = (int)taken(plan, out);
    for (int token = low; token < high; token++) {
        int32_t *state = ds2ta_state_of(plan, node, sample, token);
        for (int step = 0; step < out->steps; step++) {
            int32_t *to = ds2ta_row(plan, node->op.output, (size_t)step * tokens + (size_t)token);
            memset(to, 0, size);
            for (int past = 0; past <= first + step; past++) {
                int32_t weight = node->table[(first + step) * node->op.entries + past];
                const int32_t *from = past < first ? state + (int64_t)past * out->channels
                                                   : before(plan, node, NULL, step, first + step - past, token, scratch->room);
                for (int c = 0; c < out->channels; c++) to[c] += weight * from[c];
            }
        }
        for (int step = 0; state && step < out->steps && first + step < node->op.entries - 1; step++)
            memcpy(state + (int64_t)(first + step) * out->channels, before(plan, node, NULL, step, 0, token, scratch->room), size);
    }
}

void ds2ta_compare(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    (void)sample;
    const ds2ta_value *out = plan->values + node->op.output;
    const int32_t *threshold = node->threshold + taken(plan, out);
    for (int step = 0; step < plan->steps; step++)
        for (int token = low; token < high; token++) {
            size_t row = (size_t)step * (size_t)ds2ta_tokens(out) + (size_t)token;
            const int32_t *from = ds2ta_fetch(plan, node->op.inputs[0], row, 0, out->channels, scratch->room);
            for (int c = 0; c < out->channels; c++) scratch->room[c] = from[c] >= threshold[step];
            ds2ta_keep(plan, node->op.output, step, token, scratch->room);
        }
}
