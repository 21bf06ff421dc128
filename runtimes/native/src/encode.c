/* The encoder: pixels through a table, a convolution of wide weights, neurons. */
#include "plan.h"

#include <string.h>

/* The table's value of an input pixel; 0 outside the picture. */
static int32_t tabled(const ds2ta_node *node, const uint8_t *picture, int height, int width, int y, int x, int channel) {
    if (y < 0 || y >= height || x < 0 || x >= width) return 0;
    return node->table[channel * 256 + picture[((size_t)y * (size_t)width + (size_t)x) * (size_t)node->channels + (size_t)channel]];
}

/* Lists what is seen under the kernel at one pixel; returns how much that is. */
static int look(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, const uint8_t *picture, int pixel) {
    const ds2ta_value *out = plan->values + node->op.output;
    int count = 0, y = pixel / out->width - node->op.size / 2, x = pixel % out->width - node->op.size / 2;
    for (int place = 0; place < node->op.size * node->op.size; place++)
        for (int c = 0; c < node->channels; c++) {
            int32_t seen = tabled(node, picture, out->height, out->width, y + place / node->op.size, x + place % node->op.size, c);
            scratch->seen[count] = seen;
            scratch->seen_rows[count] = (uint16_t)(place * node->channels + c);
            count += seen != 0;
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

static void trace_tabled(const ds2ta_plan *plan, const ds2ta_node *node, const uint8_t *picture, int pixel, int16_t *trace) {
    const ds2ta_value *out = plan->values + node->op.output;
    for (int c = 0; c < node->channels; c++)
        trace[(size_t)pixel * (size_t)node->channels + (size_t)c] =
            (int16_t)tabled(node, picture, out->height, out->width, pixel / out->width, pixel % out->width, c);
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
            if (trace) trace_tabled(plan, node, plan->input + place, pixel, trace + place);
        }
        for (int tile = 0; tile < node->tiles; tile++)
            ds2ta_fire(plan, node, scratch->encoded + (size_t)tile * stride, node->op.still ? 0 : DS2TA_TILE, sample, pixel, tile);
    }
}
