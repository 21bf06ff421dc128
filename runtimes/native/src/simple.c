/* Pooling, residual sum, readout: bytes of patterns, all steps of a group at once. */
#include "plan.h"

#include <string.h>

/* Rows or columns of a window of three that lie in a picture: [begin, end). */
typedef struct {
    int begin, end;
} inside;

static inline inside window_of(int place, int stride, int size) {
    int begin = place * stride - 1, end = begin + 3;
    return (inside){begin < 0 ? 0 : begin, end < size ? end : size};
}

/* Max-pooling of spikes, 3x3, padding 1: an OR, of all steps at once. */
void ds2ta_pool(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    (void)scratch, (void)sample;
    const ds2ta_value *in = plan->values + node->op.inputs[0], *out = plan->values + node->op.output;
    size_t stride = (size_t)node->stride_in, row_size = (size_t)in->width * stride;
    for (int group = 0; group < plan->groups; group++) {
        const uint8_t *from = ds2ta_patterns(plan, node->op.inputs[0], 0, group);
        uint8_t *to = ds2ta_patterns(plan, node->op.output, 0, group) + (size_t)low * stride;
        for (int pixel = low; pixel < high; pixel++, to += stride) {
            inside rows = window_of(pixel / out->width, node->op.stride, in->height);
            inside columns = window_of(pixel % out->width, node->op.stride, in->width);
            const uint8_t *seen = from + (size_t)rows.begin * row_size + (size_t)columns.begin * stride;
            plan->kernels->unite(seen, rows.end - rows.begin, row_size, columns.end - columns.begin, stride, to);
        }
    }
}

/* Sum of counts, of all steps of a group at once. */
void ds2ta_add(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    (void)scratch, (void)sample;
    size_t length = (size_t)(high - low) * (size_t)node->stride_out, begin = (size_t)low * (size_t)node->stride_out;
    size_t plane_size = (size_t)plan->groups * (size_t)node->tokens * (size_t)node->stride_out;
    const int *inputs = node->op.inputs;
    for (int group = 0; group < plan->groups; group++)
        plan->kernels->add(ds2ta_patterns(plan, inputs[0], 0, group) + begin, plan->values[inputs[0]].planes,
                           ds2ta_patterns(plan, inputs[1], 0, group) + begin, plan->values[inputs[1]].planes,
                           ds2ta_patterns(plan, node->op.output, 0, group) + begin, plan->values[node->op.output].planes, plane_size, length);
}

/* Logits of a sample: counts over time and tokens, then weights. One thread does it. */
void ds2ta_readout(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    (void)high;
    if (low != 0) return;
    int32_t *counts = scratch->context;
    memset(counts, 0, (size_t)node->stride_in * sizeof *counts);
    for (int plane = 0; plane < node->planes; plane++)
        for (int group = 0; group < plan->groups; group++)
            plan->kernels->tally(ds2ta_patterns(plan, node->op.inputs[0], plane, group), node->tokens, node->stride_in, plane, counts);
    for (int class = 0; class < node->op.out_channels; class++) {
        int32_t sum = node->bias[class];
        for (int c = 0; c < node->channels; c++) sum += counts[c] * node->weight[(size_t)class * (size_t)node->channels + (size_t)c];
        plan->logits[(size_t)sample * (size_t)node->op.out_channels + (size_t)class] = sum;
    }
}
