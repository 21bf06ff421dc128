/* Streams: integers of 32 bits, what layers add into them, and how counts are read and written beside them. */
#include "stream.h"

#include <string.h>

const int32_t *ds2ta_fetch(const ds2ta_plan *plan, int value, size_t row, int first, int count, int32_t *room) {
    const ds2ta_value *v = plan->values + value;
    if (!v->planes) return ds2ta_row(plan, value, row) + first;
    size_t tokens = (size_t)ds2ta_tokens(v), step = row / tokens;
    size_t place = row % tokens * (size_t)ds2ta_padded(v->channels) + (size_t)first;
    int bit = (int)(step % DS2TA_GROUP);
    const uint8_t *patterns = ds2ta_patterns(plan, value, 0, (int)step / DS2TA_GROUP) + place;
    for (int c = 0; c < count; c++) room[c] = patterns[c] >> bit & 1;
    for (int plane = 1; plane < v->planes; plane++) {
        patterns = ds2ta_patterns(plan, value, plane, (int)step / DS2TA_GROUP) + place;
        for (int c = 0; c < count; c++) room[c] |= (patterns[c] >> bit & 1) << plane;
    }
    return room;
}

void ds2ta_keep(const ds2ta_plan *plan, int value, int step, int token, const int32_t *integers) {
    const ds2ta_value *v = plan->values + value;
    if (!v->planes) {
        int32_t *to = ds2ta_row(plan, value, (size_t)step * (size_t)ds2ta_tokens(v) + (size_t)token);
        if (to != integers) memcpy(to, integers, (size_t)v->channels * sizeof *to);
        return;
    }
    int bit = step % DS2TA_GROUP, padded = ds2ta_padded(v->channels);
    for (int plane = 0; plane < v->planes; plane++) {
        uint8_t *patterns = ds2ta_patterns(plan, value, plane, step / DS2TA_GROUP) + (size_t)token * (size_t)padded;
        if (!bit) memset(patterns, 0, (size_t)padded);
        for (int c = 0; c < v->channels; c++) patterns[c] |= (uint8_t)((integers[c] >> plane & 1) << bit);
    }
}

void ds2ta_store(const ds2ta_plan *plan, const ds2ta_node *node, const int32_t *product, int stride, int sample, int token, int tile) {
    const ds2ta_op *op = &node->op;
    const ds2ta_value *out = plan->values + op->output;
    int tokens = ds2ta_tokens(out), channels = out->channels, first = tile * DS2TA_TILE;
    int count = channels - first < DS2TA_TILE ? channels - first : DS2TA_TILE;
    int32_t *products = ds2ta_inner_trace(plan, node, DS2TA_PRODUCT), *currents = ds2ta_inner_trace(plan, node, DS2TA_CURRENT);
    const int32_t *bias = node->bias + first;
    for (int step = 0; step < out->steps; step++) {
        size_t row = (size_t)step * (size_t)tokens + (size_t)token, place = ds2ta_place(plan, step, sample, token, tokens, channels);
        const int32_t *made = product + (size_t)step * (size_t)stride;
        int32_t sum[DS2TA_TILE];
        for (int c = 0; c < count; c++) sum[c] = (int32_t)((uint32_t)made[c] << op->shift);
        if (op->inputs[1] >= 0) {
            const int32_t *before = ds2ta_row(plan, op->inputs[1], row) + first;
            for (int c = 0; c < count; c++) sum[c] += before[c];
        }
        if (products) memcpy(products + place + first, sum, (size_t)count * sizeof *sum);
        for (int c = 0; c < count; c++) sum[c] += bias[c];
        if (currents) memcpy(currents + place + first, sum, (size_t)count * sizeof *sum);
        if (op->inputs[2] >= 0) {
            const int32_t *residual = ds2ta_row(plan, op->inputs[2], row) + first;
            for (int c = 0; c < count; c++) sum[c] += residual[c];
        }
        memcpy(ds2ta_row(plan, op->output, row) + first, sum, (size_t)count * sizeof *sum);
    }
}

void ds2ta_trace_stream(const ds2ta_plan *plan, int value, int sample, int low, int high) {
    const ds2ta_value *v = plan->values + value;
    int tokens = ds2ta_tokens(v);
    int32_t *to = (int32_t *)(void *)plan->traced[value];
    for (int step = 0; step < v->steps; step++)
        memcpy(to + ds2ta_place(plan, step, sample, low, tokens, v->channels),
               ds2ta_row(plan, value, (size_t)step * (size_t)tokens + (size_t)low), (size_t)(high - low) * (size_t)v->channels * sizeof *to);
}
