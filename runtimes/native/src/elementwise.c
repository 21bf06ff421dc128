/* Neurons that read a stream, and what is computed element by element or along one axis: step after step, row after row. */
#include "stream.h"

#include <string.h>

void ds2ta_neurons(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    int input = node->op.inputs[0], channels = node->op.out_channels, tokens = ds2ta_tokens(plan->values + node->op.output);
    int steps = ds2ta_rows_of(plan, plan->values + input) == (size_t)tokens ? 1 : plan->steps;
    for (int token = low; token < high; token++)
        for (int tile = 0; tile < node->tiles; tile++) {
            int first = tile * DS2TA_TILE, count = channels - first < DS2TA_TILE ? channels - first : DS2TA_TILE;
            if (count < DS2TA_TILE) memset(scratch->product, 0, (size_t)steps * DS2TA_TILE * sizeof(int32_t));
            for (int step = 0; step < steps; step++) {
                int32_t *to = scratch->product + (size_t)step * DS2TA_TILE;
                const int32_t *from = ds2ta_fetch(plan, input, (size_t)step * (size_t)tokens + (size_t)token, first, count, to);
                if (from != to) memcpy(to, from, (size_t)count * sizeof *to);
            }
            ds2ta_fire(plan, node, scratch->product, steps == 1 ? 0 : DS2TA_TILE, sample, token, tile);
        }
}

/* Where a row is computed that is kept afterwards: where it will lie, when that is a stream. */
static int32_t *result(const ds2ta_plan *plan, const ds2ta_node *node, int step, int token, int32_t *room) {
    const ds2ta_value *out = plan->values + node->op.output;
    return out->planes ? room : ds2ta_row(plan, node->op.output, (size_t)step * (size_t)ds2ta_tokens(out) + (size_t)token);
}

void ds2ta_sum(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    (void)sample;
    const ds2ta_value *out = plan->values + node->op.output;
    int channels = out->channels, steps = ds2ta_steps_of(plan, out);
    for (int step = 0; step < steps; step++)
        for (int token = low; token < high; token++) {
            size_t row = (size_t)step * (size_t)ds2ta_tokens(out) + (size_t)token;
            const int32_t *one = ds2ta_fetch(plan, node->op.inputs[0], row, 0, channels, scratch->room);
            const int32_t *other = ds2ta_fetch(plan, node->op.inputs[1], row, 0, channels, scratch->room + channels);
            int32_t *to = result(plan, node, step, token, scratch->room);
            for (int c = 0; c < channels; c++) to[c] = one[c] + other[c];
            ds2ta_keep(plan, node->op.output, step, token, to);
        }
}

/* A row of a factor, repeated over heads and channels where it has one for all. */
static const int32_t *spread(const ds2ta_plan *plan, const ds2ta_node *node, int side, int step, int token, int32_t *room) {
    int input = node->op.inputs[side], own = plan->values[input].channels, channels = plan->values[node->op.output].channels;
    int heads = side ? node->op.right_heads : node->op.left_heads, all = node->op.heads, width = channels / all, own_width = own / heads;
    size_t rows = ds2ta_rows_a_step(plan, node, side);
    const int32_t *row = ds2ta_fetch(plan, input, (size_t)step * rows + (size_t)(rows == 1 ? 0 : token), 0, own, room);
    if (own == channels) return row;
    int32_t *wide = room + own;
    for (int h = 0; h < all; h++)
        for (int c = 0; c < width; c++) wide[h * width + c] = row[(heads == 1 ? 0 : h) * own_width + (own_width == 1 ? 0 : c)];
    return wide;
}

/* Spikes by spikes of the same shape, all steps of a group at once: an AND. */
static int both_are_spikes(const ds2ta_plan *plan, const ds2ta_node *node) {
    const ds2ta_value *out = plan->values + node->op.output;
    for (int side = 0; side < 2; side++) {
        const ds2ta_value *in = plan->values + node->op.inputs[side];
        if (in->planes != 1 || in->channels != out->channels || ds2ta_tokens(in) != ds2ta_tokens(out)) return 0;
    }
    return out->planes == 1;
}

static void multiply_spikes(const ds2ta_plan *plan, const ds2ta_node *node, size_t low, size_t high) {
    size_t stride = (size_t)ds2ta_padded(plan->values[node->op.output].channels);
    for (int group = 0; group < plan->groups; group++) {
        const uint8_t *one = ds2ta_patterns(plan, node->op.inputs[0], 0, group), *other = ds2ta_patterns(plan, node->op.inputs[1], 0, group);
        uint8_t *to = ds2ta_patterns(plan, node->op.output, 0, group);
        for (size_t i = low * stride; i < high * stride; i++) to[i] = one[i] & other[i];
    }
}

void ds2ta_multiply(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    (void)sample;
    const ds2ta_value *out = plan->values + node->op.output;
    int channels = out->channels, steps = ds2ta_steps_of(plan, out);
    if (both_are_spikes(plan, node)) {
        multiply_spikes(plan, node, (size_t)low, (size_t)high);
        return;
    }
    for (int step = 0; step < steps; step++)
        for (int token = low; token < high; token++) {
            const int32_t *one = spread(plan, node, 0, step, token, scratch->room);
            const int32_t *other = spread(plan, node, 1, step, token, scratch->room + 2 * channels);
            int32_t *to = result(plan, node, step, token, scratch->room + 4 * channels);
            for (int c = 0; c < channels; c++) to[c] = one[c] * other[c];
            ds2ta_keep(plan, node->op.output, step, token, to);
        }
}

void ds2ta_reduce(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    (void)sample;
    const ds2ta_value *in = plan->values + node->op.inputs[0], *out = plan->values + node->op.output;
    size_t rows = ds2ta_rows_a_step(plan, node, 0);
    int heads = node->op.heads, width = in->channels / heads;
    for (int step = 0; step < out->steps; step++)
        for (int token = low; token < high; token++) {
            int32_t *to = ds2ta_row(plan, node->op.output, (size_t)step * (size_t)ds2ta_tokens(out) + (size_t)token);
            memset(to, 0, (size_t)out->channels * sizeof *to);
            size_t first = node->op.axis == DS2TA_OVER_TOKENS ? 0 : (size_t)token, end = node->op.axis == DS2TA_OVER_TOKENS ? rows : first + 1;
            for (size_t n = first; n < end; n++) {
                const int32_t *from = ds2ta_fetch(plan, node->op.inputs[0], (size_t)step * rows + n, 0, in->channels, scratch->room);
                if (node->op.axis == DS2TA_OVER_TOKENS)
                    for (int c = 0; c < in->channels; c++) to[c] += from[c];
                else
                    for (int h = 0; h < heads; h++)
                        for (int c = 0; c < width; c++) to[node->op.axis == DS2TA_OVER_HEADS ? c : h] += from[h * width + c];
            }
        }
}

void ds2ta_look_up(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    (void)sample;
    const ds2ta_value *out = plan->values + node->op.output;
    int heads = node->op.heads, width = out->channels / heads, entries = node->op.entries;
    for (int step = 0; step < out->steps; step++)
        for (int token = low; token < high; token++) {
            size_t row = (size_t)step * (size_t)ds2ta_tokens(out) + (size_t)token;
            const int32_t *from = ds2ta_fetch(plan, node->op.inputs[0], row, 0, out->channels, scratch->room);
            int32_t *to = ds2ta_row(plan, node->op.output, row);
            for (int c = 0; c < out->channels; c++) /* an index outside is ruled out by proof, which cannot be seen from here */
                to[c] = from[c] < 0 || from[c] >= entries ? 0 : node->table[(size_t)(c / width) * (size_t)entries + (size_t)from[c]];
        }
}
