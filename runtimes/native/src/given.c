/* The way in for a plan that is part of something larger: counts, one byte each, become patterns. */
#include "plan.h"

#include <string.h>

/* Adds bit `plane` of one token's counts to its patterns, as the step's bit; the first step of a group clears what was there. */
static void pack_token(const uint8_t *counts, int channels, int plane, int bit, uint8_t *patterns) {
    if (bit == 0)
        for (int c = 0; c < channels; c++) patterns[c] = counts[c] >> plane & 1;
    else
        for (int c = 0; c < channels; c++) patterns[c] = (uint8_t)(patterns[c] | (counts[c] >> plane & 1) << bit);
}

void ds2ta_given(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    (void)scratch;
    const ds2ta_value *v = plan->values + node->op.output;
    const uint8_t *counts = plan->traced ? plan->traced[node->op.output] : NULL;
    int tokens = ds2ta_tokens(v), channels = v->channels;
    size_t stride = (size_t)ds2ta_padded(channels), size = (size_t)(high - low) * stride;
    for (int plane = 0; plane < v->planes; plane++)
        for (int step = 0; step < plan->steps; step++) {
            uint8_t *to = ds2ta_patterns(plan, node->op.output, plane, step / DS2TA_GROUP) + (size_t)low * stride;
            if (!counts) {
                memset(to, 0, size);
                continue;
            }
            const uint8_t *from = counts + ds2ta_place(plan, step, sample, low, tokens, channels);
            for (int token = low; token < high; token++, to += stride, from += channels)
                pack_token(from, channels, plane, step % DS2TA_GROUP, to);
        }
}
