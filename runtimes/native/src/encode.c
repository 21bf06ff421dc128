/* The encoder: pixels through a table, a convolution of wide weights, neurons. */
#include "plan.h"

#include <string.h>

/* The table's value of an input pixel; 0 outside the picture. */
static int32_t tabled(const ds2ta_node *node, const uint8_t *picture, int height, int width, int y, int x, int channel) {
    if (y < 0 || y >= height || x < 0 || x >= width) return 0;
    return node->table[channel * 256 + picture[((size_t)y * (size_t)width + (size_t)x) * (size_t)node->channels + (size_t)channel]];
}

void ds2ta_encode(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    const ds2ta_value *out = plan->values + node->op.output;
    int height = out->height, width = out->width, half = node->op.size / 2, times = node->op.still ? 1 : plan->steps;
    size_t picture_size = (size_t)height * (size_t)width * (size_t)node->channels;
    int16_t *trace = ds2ta_inner_trace(plan, node, DS2TA_TABLED);
    for (int pixel = low; pixel < high; pixel++)
        for (int tile = 0; tile < node->tiles; tile++) {
            memset(scratch->product, 0, (size_t)times * DS2TA_TILE * sizeof(int32_t));
            for (int t = 0; t < times; t++) {
                const uint8_t *picture = plan->input + ((size_t)t * (size_t)plan->batch + (size_t)sample) * picture_size;
                for (int place = 0; place < node->op.size * node->op.size; place++)
                    for (int c = 0; c < node->channels; c++) {
                        int y = pixel / width + place / node->op.size - half, x = pixel % width + place % node->op.size - half;
                        int32_t seen = tabled(node, picture, height, width, y, x, c);
                        size_t row = (size_t)tile * (size_t)node->rows + (size_t)(place * node->channels + c);
                        if (seen) plan->kernels->scale_row(node->wide + row * DS2TA_TILE, seen, scratch->product + t * DS2TA_TILE);
                    }
                for (int c = 0; trace && tile == 0 && c < node->channels; c++)
                    trace[((size_t)t * (size_t)plan->batch + (size_t)sample) * picture_size + (size_t)pixel * (size_t)node->channels +
                          (size_t)c] = (int16_t)tabled(node, picture, height, width, pixel / width, pixel % width, c);
            }
            ds2ta_fire(plan, node, scratch->product, node->op.still ? 0 : DS2TA_TILE, sample, pixel, tile);
        }
}
