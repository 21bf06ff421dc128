/* Products of activations, head by head: rows of the right side, times what the left side says. What it does not say, a zero, costs
 * nothing: the left side is mostly spikes. */
#include "stream.h"

#include <string.h>

/* Sizes of one head's product: rows x terms by terms x columns. */
typedef struct {
    int rows, terms, columns, padded, left_width, right_width;
} sizes;

static sizes sizes_of(const ds2ta_plan *plan, const ds2ta_node *node) {
    const ds2ta_op *op = &node->op;
    int left_rows = (int)ds2ta_rows_a_step(plan, node, 0), left = plan->values[op->inputs[0]].channels / op->heads;
    int right_rows = (int)ds2ta_rows_a_step(plan, node, 1), right = plan->values[op->inputs[1]].channels / op->heads;
    int columns = op->transpose_right ? right_rows : right;
    return (sizes){op->transpose_left ? left : left_rows, op->transpose_left ? left_rows : left, columns, ds2ta_padded(columns), left, right};
}

int64_t ds2ta_matmul_room(const ds2ta_plan *plan, const ds2ta_node *node) {
    sizes s = sizes_of(plan, node);
    int64_t own = (s.rows + plan->threads - 1) / plan->threads;
    return (int64_t)s.terms * s.padded + own * s.terms + DS2TA_TILE + plan->values[node->op.inputs[0]].channels +
           plan->values[node->op.inputs[1]].channels;
}

/* The right side of one step and head as [term][column], columns padded with zeros. */
static void lay_right(const ds2ta_plan *plan, const ds2ta_node *node, sizes s, int step, int head, int32_t *right, int32_t *room) {
    size_t rows = ds2ta_rows_a_step(plan, node, 1);
    int first = head * s.right_width;
    memset(right, 0, (size_t)s.terms * (size_t)s.padded * sizeof *right);
    for (size_t row = 0; row < rows; row++) {
        const int32_t *from = ds2ta_fetch(plan, node->op.inputs[1], (size_t)step * rows + row, first, s.right_width, room);
        if (node->op.transpose_right)
            for (int k = 0; k < s.right_width; k++) right[(size_t)k * (size_t)s.padded + row] = from[k];
        else
            memcpy(right + row * (size_t)s.padded, from, (size_t)s.right_width * sizeof *right);
    }
}

/* Rows [low, high) of the left side as [row][term]. */
static void lay_left(const ds2ta_plan *plan, const ds2ta_node *node, sizes s, int step, int head, int low, int high, int32_t *left,
                     int32_t *room) {
    size_t rows = ds2ta_rows_a_step(plan, node, 0), terms = (size_t)s.terms;
    int first = head * s.left_width, count = high - low;
    for (size_t row = 0; node->op.transpose_left && row < rows; row++) {
        const int32_t *from = ds2ta_fetch(plan, node->op.inputs[0], (size_t)step * rows + row, first + low, count, room);
        for (int i = 0; i < count; i++) left[(size_t)i * terms + row] = from[i];
    }
    for (int i = low; !node->op.transpose_left && i < high; i++)
        memcpy(left + (size_t)(i - low) * terms,
               ds2ta_fetch(plan, node->op.inputs[0], (size_t)step * rows + (size_t)i, first, s.left_width, room), terms * sizeof *left);
}

void ds2ta_matmul(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    (void)sample;
    const ds2ta_value *out = plan->values + node->op.output;
    sizes s = sizes_of(plan, node);
    int32_t *sum = scratch->room, *right = sum + DS2TA_TILE, *left = right + (size_t)s.terms * (size_t)s.padded;
    int32_t *room = left + (size_t)((s.rows + plan->threads - 1) / plan->threads) * (size_t)s.terms;
    if (low >= high) return;
    for (int step = 0; step < out->steps; step++)
        for (int head = 0; head < node->op.heads; head++) {
            lay_right(plan, node, s, step, head, right, room);
            lay_left(plan, node, s, step, head, low, high, left, room);
            for (int i = low; i < high; i++) {
                const int32_t *factors = left + (size_t)(i - low) * (size_t)s.terms;
                int32_t *to = ds2ta_row(plan, node->op.output, (size_t)step * (size_t)ds2ta_tokens(out) + (size_t)i) + head * s.columns;
                for (int first = 0; first < s.columns; first += DS2TA_TILE) {
                    memset(sum, 0, DS2TA_TILE * sizeof *sum);
                    for (int k = 0; k < s.terms; k++)
                        if (factors[k]) plan->kernels->scale_row(right + (size_t)k * (size_t)s.padded + first, factors[k], sum);
                    int count = s.columns - first < DS2TA_TILE ? s.columns - first : DS2TA_TILE;
                    memcpy(to + first, sum, (size_t)count * sizeof *sum);
                }
            }
        }
}
