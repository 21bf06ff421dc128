/* Counts for the dense product: a byte for every input channel and step, of all places under a kernel. A whole group is written, and
 * what is too much of it is overwritten by the next token, or never read. */
#include "plan.h"

#include <string.h>

void ds2ta_count_block(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int first, int count) {
    const ds2ta_value *value = plan->values + node->op.inputs[0];
    size_t stride = ds2ta_count_stride(node), channels = (size_t)node->channels;
    size_t plane_stride = (size_t)plan->groups * (size_t)node->tokens * (size_t)node->stride_in;
    int size = node->op.size, linear = node->op.kind == DS2TA_LINEAR;
    for (int n = 0; n < count; n++)
        for (int group = 0; group < plan->groups; group++) {
            uint8_t *counts = scratch->counts + ((size_t)n * (size_t)ds2ta_counted(plan) + (size_t)group * DS2TA_GROUP) * stride;
            const uint8_t *patterns = ds2ta_patterns(plan, node->op.inputs[0], 0, group);
            for (int place = 0; place < size * size; place++) {
                /* What is written behind a place's channels, the next place overwrites. */
                uint8_t *to = counts + (size_t)place * channels;
                int pixel = first + n;
                int y = pixel / value->width + ds2ta_down(&node->op, place), x = pixel % value->width + ds2ta_across(&node->op, place);
                int inside = linear || (y >= 0 && y < value->height && x >= 0 && x < value->width);
                if (!linear) pixel = y * value->width + x;
                if (inside)
                    plan->kernels->count(patterns + (size_t)pixel * (size_t)node->stride_in, plane_stride, node->planes, node->stride_in, to, stride);
                for (int t = 0; !inside && t < DS2TA_GROUP; t++) memset(to + (size_t)t * stride, 0, channels);
            }
            for (size_t t = 0; t < DS2TA_GROUP; t++) memset(counts + t * stride + node->rows, 0, (size_t)(node->quads * 4 - node->rows));
        }
}
