/* The encoder's convolution: its definition, and its kernels on numbers and memory that no network gives them. */
#include "networks.h"

#include "kernels.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_PAIRS = 20 };

/* A product of one pixel, an input's table asked value by value. */
static int32_t product_of(const network *n, const uint8_t *picture, int y, int x, int o) {
    const ds2ta_op *op = n->ops;
    const ds2ta_value *v = n->values + op->output;
    const int16_t *weight = op->wide + (size_t)(o * op->size * op->size * op->in_channels);
    int32_t sum = 0;
    for (int i = 0; i < op->size; i++)
        for (int j = 0; j < op->size; j++)
            for (int c = 0; c < op->in_channels; c++, weight++) {
                int row = y + (i - op->size / 2) * op->dilation, column = x + (j - op->size / 2) * op->dilation;
                if (row < 0 || row >= v->height || column < 0 || column >= v->width) continue;
                sum += op->table[c * 256 + picture[(row * v->width + column) * op->in_channels + c]] * *weight;
            }
    return sum;
}

int encoder_is_right(const network *n, const results *r) {
    const ds2ta_op *op = n->ops;
    if (op->kind != DS2TA_ENCODE) return 1;
    const ds2ta_value *v = n->values + op->output;
    const int32_t *product = r->inner[DS2TA_PRODUCT];
    int tokens = v->height * v->width, pictures = BATCH * (op->still ? 1 : n->steps);
    for (int k = 0; k < pictures; k++)
        for (int pixel = 0; pixel < tokens; pixel++)
            for (int o = 0; o < op->out_channels; o++)
                if (*product++ != product_of(n, n->input + (size_t)(k * tokens * op->in_channels), pixel / v->width, pixel % v->width, o)) return 0;
    return 1;
}

/* A number of 16 bits: of the ends, whose products just fit 32 bits, or any; many are 0. */
static int16_t draw_number(network *n, int ends) {
    static const int numbers[] = {INT16_MIN, INT16_MAX, -1, 0};
    return (int16_t)(ends ? numbers[draw(n, 0, 3)] : draw(n, 0, 2) ? draw(n, -8000, 8000) : 0);
}

/* Columns lie on memory that ends where they do, for an address sanitizer to see. Two products of the lowest number would not fit 32 bits:
 * of a pair of ends, the second value is a small one. */
int convolutions_equal(const char *isa, int pairs, int channels, size_t *sums) {
    static int16_t weight[MOST_PAIRS * DS2TA_TILE * 2] __attribute__((aligned(64)));
    static int32_t expected[DS2TA_COLUMNS * DS2TA_TILE] __attribute__((aligned(64))), found[DS2TA_COLUMNS * DS2TA_TILE] __attribute__((aligned(64)));
    network n = {.random = (uint64_t)(pairs * 100 + channels)};
    int ends = pairs == 1, size = 3 * pairs;
    int16_t *seen[DS2TA_COLUMNS];
    int32_t at[MOST_PAIRS];
    memset(weight, 0, sizeof weight);
    for (int i = 0; i < pairs * DS2TA_TILE * 2; i++)
        if (i / 2 % DS2TA_TILE < channels) weight[i] = draw_number(&n, ends);
    for (int k = 0; k < DS2TA_COLUMNS; k++) {
        if (!(seen[k] = malloc((size_t)size * sizeof *seen[k]))) exit(2);
        for (int i = 0; i < size; i++) seen[k][i] = ends && i == size - 1 ? 1 : draw_number(&n, ends);
    }
    for (int i = 0; i < pairs; i++) at[i] = i ? (int32_t)draw(&n, 0, size - 2) : size - 2;
    memset(found, 77, sizeof found);
    ds2ta_select_kernels("scalar")->convolve(weight, at, pairs, (const int16_t *const *)seen, channels, expected);
    ds2ta_select_kernels(isa)->convolve(weight, at, pairs, (const int16_t *const *)seen, channels, found);
    for (int i = 0; i < DS2TA_COLUMNS * DS2TA_TILE; i++) *sums += expected[i] != 0;
    for (int k = 0; k < DS2TA_COLUMNS; k++) free(seen[k]);
    return !memcmp(expected, found, sizeof expected);
}
