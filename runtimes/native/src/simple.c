/* Pooling, residual sum, readout: bytes of patterns, all steps of a group at once. */
#include "plan.h"

#include <string.h>

/* Max-pooling of spikes, 3x3, padding 1: an OR, of all steps at once. */
void ds2ta_pool(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    (void)scratch, (void)sample;
    const ds2ta_value *in = plan->values + node->op.inputs[0], *out = plan->values + node->op.output;
    size_t stride = (size_t)node->stride_in;
    for (int group = 0; group < plan->groups; group++) {
        const uint8_t *from = ds2ta_patterns(plan, node->op.inputs[0], 0, group);
        uint8_t *to = ds2ta_patterns(plan, node->op.output, 0, group);
        for (int pixel = low; pixel < high; pixel++) {
            uint8_t *pooled = to + (size_t)pixel * stride;
            memset(pooled, 0, stride);
            int top = pixel / out->width * node->op.stride - 1, left = pixel % out->width * node->op.stride - 1;
            for (int y = top < 0 ? 0 : top; y < top + 3 && y < in->height; y++)
                for (int x = left < 0 ? 0 : left; x < left + 3 && x < in->width; x++) {
                    const uint8_t *seen = from + ((size_t)y * (size_t)in->width + (size_t)x) * stride;
                    for (size_t c = 0; c < stride; c++) pooled[c] |= seen[c];
                }
        }
    }
}

/* Sum of counts: a ripple adder, a byte holding one bit of the count for every step of a group. */
void ds2ta_add(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    (void)scratch, (void)sample;
    size_t stride = (size_t)node->stride_out, length = (size_t)(high - low) * stride, begin = (size_t)low * stride;
    int planes[2] = {plan->values[node->op.inputs[0]].planes, plan->values[node->op.inputs[1]].planes};
    for (int group = 0; group < plan->groups; group++)
        for (size_t at = 0; at < length; at += DS2TA_TILE) {
            uint8_t carry[DS2TA_TILE] = {0};
            for (int plane = 0; plane < plan->values[node->op.output].planes; plane++) {
                uint8_t *sum = ds2ta_patterns(plan, node->op.output, plane, group) + begin + at;
                uint8_t part[2][DS2TA_TILE] = {{0}};
                for (int side = 0; side < 2; side++)
                    if (plane < planes[side])
                        memcpy(part[side], ds2ta_patterns(plan, node->op.inputs[side], plane, group) + begin + at, DS2TA_TILE);
                for (int c = 0; c < DS2TA_TILE; c++) {
                    uint8_t one = part[0][c], other = part[1][c], either = one ^ other;
                    sum[c] = either ^ carry[c];
                    carry[c] = (uint8_t)((one & other) | (either & carry[c]));
                }
            }
        }
}

/* Logits of a sample: counts over time and tokens, then weights. One thread does it. */
void ds2ta_readout(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    (void)high;
    if (low != 0) return;
    static const uint8_t ones[DS2TA_PATTERNS] = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4};
    int32_t *counts = scratch->context;
    memset(counts, 0, (size_t)node->stride_in * sizeof *counts);
    for (int plane = 0; plane < node->planes; plane++)
        for (int group = 0; group < plan->groups; group++) {
            const uint8_t *patterns = ds2ta_patterns(plan, node->op.inputs[0], plane, group);
            for (int token = 0; token < node->tokens; token++, patterns += node->stride_in)
                for (int c = 0; c < node->channels; c++) counts[c] += ones[patterns[c]] << plane;
        }
    for (int class = 0; class < node->op.out_channels; class++) {
        int32_t sum = node->bias[class];
        for (int c = 0; c < node->channels; c++) sum += counts[c] * node->weight[(size_t)class * (size_t)node->channels + (size_t)c];
        plan->logits[(size_t)sample * (size_t)node->op.out_channels + (size_t)class] = sum;
    }
}
