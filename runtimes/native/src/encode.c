/* The encoder: pixels through a table, a convolution of wide weights, neurons. */
#include "plan.h"

#include <string.h>

/* Lists what is seen under the kernel at one pixel, without zeros; returns how much that is. Outside the picture all is 0. */
static int look(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, const uint8_t *picture, int pixel) {
    const ds2ta_value *out = plan->values + node->op.output;
    int count = 0, size = node->op.size, apart = node->op.dilation, half = size / 2 * apart;
    for (int i = 0; i < size; i++)
        for (int j = 0; j < size; j++) {
            int y = pixel / out->width + i * apart - half, x = pixel % out->width + j * apart - half;
            if (y < 0 || y >= out->height || x < 0 || x >= out->width) continue;
            const uint8_t *colours = picture + ((size_t)y * (size_t)out->width + (size_t)x) * (size_t)node->channels;
            int row = (i * size + j) * node->channels;
            for (int c = 0; c < node->channels; c++) {
                int32_t seen = node->table[c * 256 + colours[c]];
                scratch->seen[count] = seen;
                scratch->seen_rows[count] = (uint16_t)(row + c);
                count += seen != 0;
            }
        }
    return count;
}

void ds2ta_multiply_seen(const ds2ta_plan *plan, const ds2ta_node *node, const ds2ta_scratch *scratch, int count, int32_t *product,
                         size_t stride) {
    for (size_t tile = 0; tile < (size_t)node->tiles; tile++) {
        memset(product + tile * stride, 0, DS2TA_TILE * sizeof *product);
        plan->kernels->multiply(node->wide + tile * (size_t)node->rows * DS2TA_TILE, scratch->seen_rows, scratch->seen, count,
                                product + tile * stride);
    }
}

static void trace_tabled(const ds2ta_node *node, const uint8_t *picture, int pixel, int16_t *trace) {
    size_t first = (size_t)pixel * (size_t)node->channels;
    for (int c = 0; c < node->channels; c++) trace[first + (size_t)c] = node->table[c * 256 + picture[first + (size_t)c]];
}

void ds2ta_encode(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    int times = node->op.still ? 1 : plan->steps;
    size_t size = (size_t)ds2ta_tokens(plan->values + node->op.output) * (size_t)node->channels, stride = (size_t)times * DS2TA_TILE;
    int16_t *trace = ds2ta_inner_trace(plan, node, DS2TA_TABLED);
    for (int pixel = low; pixel < high; pixel++) {
        for (int t = 0; t < times; t++) {
            size_t place = ((size_t)t * (size_t)plan->batch + (size_t)sample) * size;
            int count = look(plan, node, scratch, plan->input + place, pixel);
            ds2ta_multiply_seen(plan, node, scratch, count, scratch->encoded + t * DS2TA_TILE, stride);
            if (trace) trace_tabled(node, plan->input + place, pixel, trace + place);
        }
        for (int tile = 0; tile < node->tiles; tile++)
            ds2ta_fire(plan, node, scratch->encoded + (size_t)tile * stride, node->op.still ? 0 : DS2TA_TILE, sample, pixel, tile);
    }
}
