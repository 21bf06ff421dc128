/* Products of activations, head by head: rows of the right side, times what the left side says. What it does not say, a zero, costs
 * nothing: the left side is mostly spikes. */
#include "stream.h"

#include <string.h>

/* Sizes of one head's product, rows x terms by terms x columns, and where a thread works on its rows. */
typedef struct {
    int terms, columns, tiles, left_width, right_width;
    size_t left_rows, right_rows, own;
} sizes;

/* What is not zero of the left side's rows: terms and factors, `terms` places for each row. */
typedef struct {
    int32_t *counts, *factors;
    uint16_t *terms;
} left_side;

static sizes sizes_of(const ds2ta_plan *plan, const ds2ta_node *node) {
    const ds2ta_op *op = &node->op;
    size_t left = ds2ta_rows_a_step(plan, node, 0), right = ds2ta_rows_a_step(plan, node, 1);
    int left_width = plan->values[op->inputs[0]].channels / op->heads, right_width = plan->values[op->inputs[1]].channels / op->heads;
    int columns = op->transpose_right ? (int)right : right_width, rows = op->transpose_left ? left_width : (int)left;
    return (sizes){op->transpose_left ? (int)left : left_width, columns, ds2ta_padded(columns) / DS2TA_TILE, left_width, right_width, left, right,
                   (size_t)rows}; /* a thread that takes a sample for itself has all of its rows */
}

static size_t right_size(sizes s) { return (size_t)s.tiles * (size_t)s.terms * DS2TA_TILE; }

size_t ds2ta_matmul_room(const ds2ta_plan *plan, const ds2ta_node *node) {
    sizes s = sizes_of(plan, node);
    size_t row = (size_t)(s.left_width > s.right_width ? s.left_width : s.right_width);
    return DS2TA_TILE + right_size(s) + s.own + 2 * s.own * (size_t)s.terms + row;
}

/* The right side of one step and head as [tile][term][DS2TA_TILE], columns padded with zeros. */
static void lay_right(const ds2ta_plan *plan, const ds2ta_node *node, sizes s, int step, int head, int32_t *right, int32_t *room) {
    memset(right, 0, right_size(s) * sizeof *right);
    size_t tile_size = (size_t)s.terms * DS2TA_TILE;
    for (size_t row = 0; row < s.right_rows; row++) {
        const int32_t *from = ds2ta_fetch(plan, node->op.inputs[1], (size_t)step * s.right_rows + row, head * s.right_width, s.right_width, room);
        if (node->op.transpose_right) {
            int32_t *to = right + row / DS2TA_TILE * tile_size + row % DS2TA_TILE;
            for (int k = 0; k < s.right_width; k++) to[(size_t)k * DS2TA_TILE] = from[k];
            continue;
        }
        for (int tile = 0; tile < s.tiles; tile++) {
            int first = tile * DS2TA_TILE, count = s.columns - first < DS2TA_TILE ? s.columns - first : DS2TA_TILE;
            memcpy(right + (size_t)tile * tile_size + row * DS2TA_TILE, from + first, (size_t)count * sizeof *right);
        }
    }
}

static void say(left_side left, sizes s, size_t row, int term, int32_t factor) {
    size_t place = row * (size_t)s.terms + (size_t)left.counts[row];
    left.terms[place] = (uint16_t)term;
    left.factors[place] = factor;
    left.counts[row] += factor != 0;
}

/* Rows [low, high) of the left side. A term that is zero is overwritten by the next, if there is a place left for it. */
static void lay_left(const ds2ta_plan *plan, const ds2ta_node *node, sizes s, int step, int head, int low, int high, left_side left, int32_t *room) {
    size_t count = (size_t)(high - low), first = (size_t)step * s.left_rows;
    memset(left.counts, 0, count * sizeof *left.counts);
    for (int term = 0; node->op.transpose_left && term < s.terms; term++) {
        const int32_t *from = ds2ta_fetch(plan, node->op.inputs[0], first + (size_t)term, head * s.left_width + low, (int)count, room);
        for (size_t i = 0; i < count; i++) say(left, s, i, term, from[i]);
    }
    for (size_t i = 0; !node->op.transpose_left && i < count; i++) {
        const int32_t *from = ds2ta_fetch(plan, node->op.inputs[0], first + (size_t)low + i, head * s.left_width, s.left_width, room);
        for (int term = 0; term < s.terms; term++) say(left, s, i, term, from[term]);
    }
}

void ds2ta_matmul(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    (void)sample;
    const ds2ta_value *out = plan->values + node->op.output;
    sizes s = sizes_of(plan, node);
    int32_t *sum = scratch->room, *right = sum + DS2TA_TILE, *counts = right + right_size(s), *factors = counts + s.own;
    left_side left = {counts, factors, (uint16_t *)(void *)(factors + s.own * (size_t)s.terms)};
    int32_t *room = factors + 2 * s.own * (size_t)s.terms;
    if (low >= high) return;
    for (int step = 0; step < out->steps; step++)
        for (int head = 0; head < node->op.heads; head++) {
            lay_right(plan, node, s, step, head, right, room);
            lay_left(plan, node, s, step, head, low, high, left, room);
            for (int tile = 0; tile < s.tiles; tile++)
                for (int i = low; i < high; i++) {
                    size_t row = (size_t)(i - low), place = row * (size_t)s.terms;
                    int first = tile * DS2TA_TILE, count = s.columns - first < DS2TA_TILE ? s.columns - first : DS2TA_TILE;
                    const int32_t *rows = right + (size_t)tile * (size_t)s.terms * DS2TA_TILE;
                    memset(sum, 0, DS2TA_TILE * sizeof *sum);
                    plan->kernels->multiply(rows, left.terms + place, left.factors + place, left.counts[row], sum);
                    int32_t *to = ds2ta_row(plan, node->op.output, (size_t)step * (size_t)ds2ta_tokens(out) + (size_t)i) + head * s.columns;
                    memcpy(to + first, sum, (size_t)count * sizeof *sum);
                }
        }
}
