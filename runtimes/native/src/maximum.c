/* 3x3 maxima: of integers, over rows and columns or over tokens and channels of a head; of spikes, an OR of all steps of a group. */
#include "stream.h"

#include <string.h>

static int at_least(int value, int least) { return value < least ? least : value; }

static int at_most(int value, int most) { return value > most ? most : value; }

/* Places of an axis under the window whose middle is `middle`. */
typedef struct {
    int first, end;
} reach;

static reach around(int middle, int size) { return (reach){at_least(middle - 1, 0), at_most(middle + 2, size)}; }

/* Largest of a picture's pixels under the window of output token `token`. */
static void over_picture(const ds2ta_plan *plan, const ds2ta_node *node, int32_t *room, int step, int token, int32_t *to) {
    const ds2ta_value *in = plan->values + node->op.inputs[0], *out = plan->values + node->op.output;
    size_t rows = ds2ta_rows_a_step(plan, node, 0);
    reach y = around(token / out->width * node->op.stride, in->height), x = around(token % out->width * node->op.stride, in->width);
    for (int c = 0; c < in->channels; c++) to[c] = INT32_MIN;
    for (int i = y.first; i < y.end; i++)
        for (int j = x.first; j < x.end; j++) {
            size_t row = (size_t)step * rows + (size_t)i * (size_t)in->width + (size_t)j;
            const int32_t *from = ds2ta_fetch(plan, node->op.inputs[0], row, 0, in->channels, room);
            for (int c = 0; c < in->channels; c++) to[c] = from[c] > to[c] ? from[c] : to[c];
        }
}

/* Largest of the tokens and channels of each head. */
static void over_heads(const ds2ta_plan *plan, const ds2ta_node *node, int32_t *room, int step, int token, int32_t *to) {
    const ds2ta_value *in = plan->values + node->op.inputs[0], *out = plan->values + node->op.output;
    int heads = node->op.heads, stride = node->op.stride, width = in->channels / heads, made = out->channels / heads;
    size_t rows = ds2ta_rows_a_step(plan, node, 0);
    reach n = around(token * stride, (int)rows);
    int32_t *column = room + in->channels;
    for (int c = 0; c < in->channels; c++) column[c] = INT32_MIN;
    for (int i = n.first; i < n.end; i++) {
        const int32_t *from = ds2ta_fetch(plan, node->op.inputs[0], (size_t)step * rows + (size_t)i, 0, in->channels, room);
        for (int c = 0; c < in->channels; c++) column[c] = from[c] > column[c] ? from[c] : column[c];
    }
    for (int h = 0; h < heads; h++)
        for (int c = 0; c < made; c++) {
            reach x = around(c * stride, width);
            int32_t largest = INT32_MIN;
            for (int j = x.first; j < x.end; j++) largest = column[h * width + j] > largest ? column[h * width + j] : largest;
            to[h * made + c] = largest;
        }
}

/* The same of spikes for stride 1, all steps of a group at once. */
static void spikes_over_heads(const ds2ta_plan *plan, const ds2ta_node *node, uint8_t *column, int low, int high) {
    const ds2ta_value *in = plan->values + node->op.inputs[0];
    int heads = node->op.heads, channels = in->channels, width = channels / heads, tokens = ds2ta_tokens(in);
    size_t stride = (size_t)ds2ta_padded(channels);
    for (int group = 0; group < plan->groups; group++)
        for (int token = low; token < high; token++) {
            uint8_t *to = ds2ta_patterns(plan, node->op.output, 0, group) + (size_t)token * stride;
            reach n = around(token, tokens);
            memset(column, 0, stride);
            for (int i = n.first; i < n.end; i++) {
                const uint8_t *from = ds2ta_patterns(plan, node->op.inputs[0], 0, group) + (size_t)i * stride;
                for (size_t c = 0; c < stride; c++) column[c] |= from[c];
            }
            memcpy(to, column, stride);
            for (int c = 1; c < channels; c++) to[c] |= column[c - 1];
            for (int c = 1; c < channels; c++) to[c - 1] |= column[c];
            for (int first = width; first < channels; first += width) { /* heads do not see each other */
                to[first] = column[first] | (width > 1 ? column[first + 1] : 0);
                to[first - 1] = column[first - 1] | (width > 1 ? column[first - 2] : 0);
            }
        }
}

void ds2ta_maximum(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    (void)sample;
    const ds2ta_value *in = plan->values + node->op.inputs[0], *out = plan->values + node->op.output;
    int heads = node->op.axis == DS2TA_OVER_CHANNELS, steps = ds2ta_steps_of(plan, out);
    if (heads && node->op.stride == 1 && in->planes == 1 && ds2ta_tokens(in) == ds2ta_tokens(out)) {
        spikes_over_heads(plan, node, (uint8_t *)scratch->room, low, high);
        return;
    }
    int32_t *made = scratch->room + 2 * in->channels;
    for (int step = 0; step < steps; step++)
        for (int token = low; token < high; token++) {
            (heads ? over_heads : over_picture)(plan, node, scratch->room, step, token, made);
            ds2ta_keep(plan, node->op.output, step, token, made);
        }
}
