/* Query by key by popcount, the denoiser's table, map by value, neurons. */
#include "plan.h"

#include <string.h>

/* Bit `step` of `width` pattern bytes, 64 to a word. */
static void gather_bits(const uint8_t *patterns, int width, int step, uint64_t *words) {
    for (int c = 0; c < width; c++) {
        if (c % 64 == 0) words[c / 64] = 0;
        if (c % 8 == 0 && c + 8 <= width) {
            uint64_t eight;
            memcpy(&eight, patterns + c, 8);
            words[c / 64] |= ((eight >> step & 0x0101010101010101u) * 0x0102040810204080u >> 56) << c % 64;
            c += 7;
        } else {
            words[c / 64] |= (uint64_t)(patterns[c] >> step & 1) << c % 64;
        }
    }
}

static void spread_values(const uint8_t *patterns, int width, int step, int16_t *values) {
    for (int c = 0; c < width; c++) values[c] = (int16_t) - (patterns[c] >> step & 1);
}

/* One query's sum of values, weighted by the map. */
static void mix(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int width, int32_t *context) {
    if (node->narrow) {
        plan->kernels->mix(scratch->map, scratch->values, node->tokens, node->head_width, scratch->mixed);
        for (int c = 0; c < width; c++) context[c] = scratch->mixed[c];
        return;
    }
    memset(context, 0, (size_t)width * sizeof *context);
    for (size_t j = 0; j < (size_t)node->tokens; j++)
        for (int c = 0; c < width; c++) context[c] += scratch->map[j] & scratch->values[j * (size_t)node->head_width + (size_t)c];
}

static int32_t score(const uint64_t *query, const uint64_t *key, int words) {
    int32_t sum = 0;
    for (int w = 0; w < words; w++) sum += __builtin_popcountll(query[w] & key[w]);
    return sum;
}

/* All query tokens [low, high) of one head in one step. */
static void attend_head(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int step, int head, int low,
                        int high) {
    int width = node->op.out_channels / node->op.heads, words = node->head_words, bit = step % DS2TA_GROUP;
    size_t tokens = (size_t)node->tokens, stride = (size_t)node->stride_in, column = (size_t)head * (size_t)width;
    const uint8_t *query = ds2ta_patterns(plan, node->op.inputs[0], 0, step / DS2TA_GROUP) + column;
    const uint8_t *key = ds2ta_patterns(plan, node->op.inputs[1], 0, step / DS2TA_GROUP) + column;
    const uint8_t *value = ds2ta_patterns(plan, node->op.inputs[2], 0, step / DS2TA_GROUP) + column;
    const int16_t *table = node->table + (size_t)head * (size_t)node->op.entries;
    size_t place = (((size_t)step * (size_t)plan->batch + (size_t)sample) * (size_t)node->op.heads + (size_t)head) * tokens;
    int32_t *scores = ds2ta_inner_trace(plan, node, DS2TA_SCORES);
    int16_t *denoised = ds2ta_inner_trace(plan, node, DS2TA_DENOISED);
    for (size_t j = 0; j < tokens; j++) {
        gather_bits(key + j * stride, width, bit, scratch->keys + j * (size_t)words);
        spread_values(value + j * stride, width, bit, scratch->values + j * (size_t)node->head_width);
    }
    for (int i = low; i < high; i++) {
        gather_bits(query + (size_t)i * stride, width, bit, scratch->query);
        plan->kernels->look_up(scratch->query, scratch->keys, words, node->tokens, table, scratch->map);
        mix(plan, node, scratch, width,
            scratch->context + ((size_t)(i - low) * (size_t)plan->steps + (size_t)step) * (size_t)node->stride_out + column);
        if (denoised) memcpy(denoised + (place + (size_t)i) * tokens, scratch->map, tokens * sizeof(int16_t));
        for (size_t j = 0; scores && j < tokens; j++)
            scores[(place + (size_t)i) * tokens + j] = score(scratch->query, scratch->keys + j * (size_t)words, words);
    }
}

void ds2ta_attend(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    memset(scratch->values, 0, (size_t)node->tokens * (size_t)node->head_width * sizeof(int16_t)); /* another width may have been here */
    size_t padding = (size_t)(node->stride_out - node->op.out_channels), places = (size_t)(high - low) * (size_t)plan->steps;
    for (size_t place = 0; padding && place < places; place++)
        memset(scratch->context + (place + 1) * (size_t)node->stride_out - padding, 0, padding * sizeof(int32_t));
    for (int step = 0; step < plan->steps; step++)
        for (int head = 0; head < node->op.heads; head++) attend_head(plan, node, scratch, sample, step, head, low, high);
    for (int i = low; i < high; i++)
        for (int tile = 0; tile < node->tiles; tile++)
            ds2ta_fire(plan, node, scratch->context + (size_t)(i - low) * (size_t)plan->steps * (size_t)node->stride_out + tile * DS2TA_TILE,
                       node->stride_out, sample, i, tile);
}
