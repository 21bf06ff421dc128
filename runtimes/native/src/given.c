/* The way in for a plan that is part of something larger: counts, one byte each, become patterns. */
#include "plan.h"

#include <string.h>

/* Patterns of one token's bits `mask` in four steps, `size` bytes apart. Bytes are compared with nothing but bytes: that keeps the
 * compiler's vectors full. */
static void pack_group(const uint8_t *restrict counts, size_t size, int channels, uint8_t mask, uint8_t *restrict patterns) {
    const uint8_t *restrict second = counts + size, *restrict third = second + size, *restrict fourth = third + size;
    for (int c = 0; c < channels; c++)
        patterns[c] = (uint8_t)((counts[c] & mask ? 1 : 0) | (second[c] & mask ? 2 : 0) | (third[c] & mask ? 4 : 0) | (fourth[c] & mask ? 8 : 0));
}

/* Adds one step to patterns, of the last group, that has fewer than four. */
static void pack_step(const uint8_t *restrict counts, int channels, uint8_t mask, uint8_t bit, uint8_t *restrict patterns) {
    for (int c = 0; c < channels; c++) patterns[c] |= counts[c] & mask ? bit : 0;
}

void ds2ta_given(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    (void)scratch;
    const ds2ta_value *v = plan->values + node->op.output;
    const uint8_t *counts = plan->traced ? plan->traced[node->op.output] : NULL;
    int tokens = ds2ta_tokens(v), channels = v->channels;
    size_t stride = (size_t)ds2ta_padded(channels), size = (size_t)(high - low) * stride;
    size_t step_size = ds2ta_place(plan, 1, 0, 0, tokens, channels);
    for (int plane = 0; plane < v->planes; plane++)
        for (int group = 0; group < plan->groups; group++) {
            uint8_t *to = ds2ta_patterns(plan, node->op.output, plane, group) + (size_t)low * stride, mask = (uint8_t)(1 << plane);
            int first = group * DS2TA_GROUP, steps = plan->steps - first;
            if (!counts || steps < DS2TA_GROUP) memset(to, 0, size);
            for (int token = low; counts && token < high; token++, to += stride) {
                const uint8_t *from = counts + ds2ta_place(plan, first, sample, token, tokens, channels);
                if (steps >= DS2TA_GROUP)
                    pack_group(from, step_size, channels, mask, to);
                else
                    for (int t = 0; t < steps; t++) pack_step(from + (size_t)t * step_size, channels, mask, (uint8_t)(1 << t), to);
            }
        }
}
