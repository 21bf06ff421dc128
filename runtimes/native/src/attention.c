/* Query by key by popcount, the denoiser's table, map by value, neurons: one query, head and step after the other, which tells everything
 * that happens inside. Where nobody asks, abreast.c is faster. */
#include "plan.h"

#include <string.h>

/* One head in one step. */
typedef struct {
    const uint8_t *query, *key, *value; /* patterns of the head's first channel and token */
    const int16_t *table;
    int bit;
    size_t place; /* of its first score in a trace */
} head_step;

/* Scores of 8 bits are looked up by the kernels; larger heads, which are seldom, here. */
enum { WIDEST = 31 * 8 };

static int score(const uint64_t *query, const uint8_t *keys, int bytes, size_t tokens) {
    int sum = 0;
    for (int b = 0; b < bytes; b++) sum += __builtin_popcount((unsigned)(query[b / 8] >> 8 * (b % 8)) & keys[(size_t)b * tokens]);
    return sum;
}

/* Lays out all keys and values. */
static void lay_out(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, const head_step *head, int width) {
    size_t stride = (size_t)node->stride_in, bytes = (size_t)(width + 7) / 8;
    for (size_t j = 0; j < (size_t)node->tokens; j++) {
        plan->kernels->gather(head->key + j * stride, width, head->bit, scratch->words);
        for (size_t b = 0; b < bytes; b++)
            scratch->keys[b * (size_t)node->padded_tokens + j] = (uint8_t)(scratch->words[b / 8] >> 8 * (b % 8));
    }
    for (size_t j = 0; j < (size_t)node->tokens; j += 2) {
        const uint8_t *value = head->value + j * stride;
        plan->kernels->spread(value, j + 1 < (size_t)node->tokens ? value + stride : NULL, width, head->bit,
                              scratch->values + j * (size_t)node->head_width);
    }
}

/* One query's map, and its trace. */
static void look_up(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, const head_step *head, int query, int width,
                    int16_t *map) {
    int bytes = (width + 7) / 8;
    size_t tokens = (size_t)node->tokens, row = (head->place + (size_t)query) * tokens;
    int32_t *scores = ds2ta_inner_trace(plan, node, DS2TA_SCORES);
    int16_t *denoised = ds2ta_inner_trace(plan, node, DS2TA_DENOISED);
    plan->kernels->gather(head->query + (size_t)query * (size_t)node->stride_in, width, head->bit, scratch->words);
    if (width <= WIDEST) plan->kernels->look_up(scratch->words, scratch->keys, bytes, node->padded_tokens, head->table, node->op.entries, map);
    for (size_t j = 0; (width > WIDEST || scores) && j < tokens; j++) {
        int sum = score(scratch->words, scratch->keys + j, bytes, (size_t)node->padded_tokens);
        if (width > WIDEST) map[j] = head->table[sum];
        if (scores) scores[row + j] = sum;
    }
    if (denoised) memcpy(denoised + row, map, tokens * sizeof *map);
}

/* All query tokens [low, high) of one head in one step, some at a time. */
static void attend_head(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, const head_step *head, int32_t *context, int low,
                        int high) {
    int width = node->op.out_channels / node->op.heads;
    size_t tokens = (size_t)node->padded_tokens, stride = (size_t)plan->steps * (size_t)node->stride_out;
    lay_out(plan, node, scratch, head, width);
    for (int first = low; first < high; first += DS2TA_QUERIES) {
        int count = high - first < DS2TA_QUERIES ? high - first : DS2TA_QUERIES;
        for (int q = 0; q < count; q++) look_up(plan, node, scratch, head, first + q, width, scratch->map + (size_t)q * tokens);
        plan->kernels->mix(scratch->map, tokens, scratch->values, (node->tokens + 1) / 2, node->head_width, scratch->mixed);
        for (int q = 0; q < count; q++)
            memcpy(context + (size_t)(first - low + q) * stride, scratch->mixed + q * node->head_width, (size_t)width * sizeof *context);
    }
}

void ds2ta_attend(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    int width = node->op.out_channels / node->op.heads;
    if (ds2ta_may_go_abreast(plan, node)) {
        ds2ta_attend_abreast(plan, node, scratch, low, high);
        return;
    }
    /* Another width, or more tokens, may have been here. */
    memset(scratch->values, 0, (size_t)(node->tokens + 1) * (size_t)node->head_width * sizeof *scratch->values);
    memset(scratch->keys, 0, (size_t)node->padded_tokens * (size_t)node->head_words * 8);
    size_t padding = (size_t)(node->stride_out - node->op.out_channels), places = (size_t)(high - low) * (size_t)plan->steps;
    for (size_t place = 0; padding && place < places; place++)
        memset(scratch->context + (place + 1) * (size_t)node->stride_out - padding, 0, padding * sizeof(int32_t));
    for (int step = 0; step < plan->steps; step++)
        for (int h = 0; h < node->op.heads; h++) {
            const uint8_t *first[3];
            for (int side = 0; side < 3; side++) first[side] = ds2ta_patterns(plan, node->op.inputs[side], 0, step / DS2TA_GROUP) + h * width;
            size_t place = ((size_t)step * (size_t)plan->batch + (size_t)sample) * (size_t)node->op.heads + (size_t)h;
            head_step head = {first[0], first[1], first[2], node->table + h * node->op.entries, step % DS2TA_GROUP, place * (size_t)node->tokens};
            attend_head(plan, node, scratch, &head, scratch->context + (size_t)step * (size_t)node->stride_out + h * width, low, high);
        }
    for (int i = low; i < high; i++)
        for (int tile = 0; tile < node->tiles; tile++)
            ds2ta_fire(plan, node, scratch->context + (size_t)(i - low) * (size_t)plan->steps * (size_t)node->stride_out + tile * DS2TA_TILE,
                       node->stride_out, sample, i, tile);
}
