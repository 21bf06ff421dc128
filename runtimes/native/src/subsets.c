/* Sums of subsets: the third way to a layer's sums, the same time whatever fires. Spikes of four channels at one step are the number of a
 * subset of four rows, whose sum stands in a table. Tables are made for a block of tokens, four output channels at a time; they take more
 * room than the weights. */
#include "plan.h"

#include <string.h>

/* What is looked up where a kernel reaches beyond a picture. */
static const uint8_t SILENCE[DS2TA_MAX_ROWS + 1 + DS2TA_TILE];

int ds2ta_may_use_subsets(const ds2ta_plan *plan, const ds2ta_node *node) {
    const ds2ta_value *value = plan->values + node->op.output;
    if (!node->set_pairs || !plan->kernels->subsets || plan->state || !value->planes || ds2ta_fires_traced(plan, node)) return 0;
    return 1;
}

/* Where the rows of a span lie, under one place of the kernel. */
static void find_rows(const ds2ta_plan *plan, const ds2ta_node *node, int first, int count, int place, const uint8_t *patterns,
                      const uint8_t **rows) {
    const ds2ta_value *value = plan->values + node->op.inputs[0];
    int size = node->op.size, down = (place / size - size / 2) * node->op.dilation, across = (place % size - size / 2) * node->op.dilation;
    int width = node->op.kind == DS2TA_CONV ? value->width : ds2ta_tokens(value), height = ds2ta_tokens(value) / width;
    int y = first / width + down, x = first % width + across;
    const uint8_t *row = patterns + ((ptrdiff_t)y * width + x) * (ptrdiff_t)node->stride_in;
    for (int n = 0; n < DS2TA_SPAN; n++, row += node->stride_in) {
        rows[n] = n < count && y >= 0 && y < height && x >= 0 && x < width ? row : SILENCE;
        if (++x == width + across) x = across, y++;
    }
}

/* The block's indices: [span][group][plane][set][step][token][four]. */
static void index_block(const ds2ta_plan *plan, const ds2ta_node *node, uint8_t *indices, int first, int count) {
    size_t size = (size_t)node->set_pairs * DS2TA_PAIR * DS2TA_SET_BYTES;
    int sets = node->channels / DS2TA_SET;
    const uint8_t *rows[DS2TA_SPAN];
    for (int n = 0; n < count; n += DS2TA_SPAN)
        for (int group = 0; group < plan->groups; group++)
            for (int plane = 0; plane < node->planes; plane++, indices += size) {
                const uint8_t *patterns = ds2ta_patterns(plan, node->op.inputs[0], plane, group);
                for (int place = 0; place < node->op.size * node->op.size; place++) {
                    find_rows(plan, node, first + n, count - n, place, patterns, rows);
                    plan->kernels->subsets->index(rows, sets, indices + (size_t)place * (size_t)sets * DS2TA_SET_BYTES);
                }
            }
}

/* Sums of one span and four channels, from what tables have too much, taken away. */
static void sum_span(const ds2ta_plan *plan, const ds2ta_node *node, const ds2ta_scratch *scratch, const uint8_t *indices, const int32_t *below,
                     int limbs) {
    size_t stride = (size_t)plan->groups * DS2TA_GROUP * DS2TA_SPAN, size = (size_t)node->set_pairs * DS2TA_PAIR * DS2TA_SET_BYTES;
    int32_t begin[DS2TA_QUARTET];
    for (int output = 0; output < DS2TA_QUARTET; output++) begin[output] = -below[output] * ((1 << node->planes) - 1);
    for (int group = 0; group < plan->groups; group++)
        for (int limb = 0; limb < limbs; limb++)
            for (int plane = 0; plane < node->planes; plane++)
                plan->kernels->subsets->add(scratch->tables + (size_t)limb * ds2ta_table_size(node),
                                            indices + (size_t)(group * node->planes + plane) * size, node->set_pairs, 1 << (plane + 4 * limb),
                                            limb || plane ? NULL : begin, scratch->across + group * DS2TA_GROUP * DS2TA_SPAN, stride);
}

/* Patterns of a tile: [span][group][channel][token]. */
static void sum_tile(const ds2ta_plan *plan, const ds2ta_node *node, const ds2ta_scratch *scratch, int tile, int count, int limbs) {
    const ds2ta_subsets *subsets = plan->kernels->subsets;
    ds2ta_neuron neuron = ds2ta_neuron_of(plan, node);
    size_t stride = (size_t)plan->groups * DS2TA_GROUP * DS2TA_SPAN, group_stride = DS2TA_TILE * DS2TA_SPAN;
    size_t span_size = (size_t)plan->groups * (size_t)node->planes * (size_t)node->set_pairs * DS2TA_PAIR * DS2TA_SET_BYTES;
    for (int channel = 0; channel < DS2TA_TILE; channel += DS2TA_QUARTET) {
        size_t column = (size_t)tile * DS2TA_TILE + (size_t)channel;
        if (column >= (size_t)node->op.out_channels) break; /* their patterns are zeros: see ds2ta_sum_subsets */
        for (int limb = 0; limb < limbs; limb++)
            subsets->tabulate(scratch->quads, node->set_pairs, channel, limbs == 1 ? DS2TA_WHOLE : limb ? DS2TA_HIGH : DS2TA_LOW,
                              scratch->tables + (size_t)limb * ds2ta_table_size(node));
        for (int span = 0; span * DS2TA_SPAN < count; span++) {
            sum_span(plan, node, scratch, scratch->indices + (size_t)span * span_size, node->below + column, limbs);
            subsets->fire(&neuron, scratch->across, stride, node->bias + column, node->threshold + column,
                          scratch->turned + ((size_t)span * (size_t)plan->groups * DS2TA_TILE + (size_t)channel) * DS2TA_SPAN, group_stride);
        }
    }
}

void ds2ta_sum_subsets(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int first, int count) {
    if (!ds2ta_is_here(node, first, count, &scratch->indexed)) index_block(plan, node, scratch->indices, first, count);
    scratch->listed.count = 0; /* lists lay there */
    size_t group_stride = (size_t)node->tokens * (size_t)node->stride_out;
    size_t quads = (size_t)node->quads * 4 * DS2TA_TILE, held = (size_t)node->set_pairs * DS2TA_PAIR * DS2TA_SET * DS2TA_TILE;
    for (int tile = 0; tile < node->tiles; tile++) {
        ds2ta_panel panel = ds2ta_panel_of(node, tile / DS2TA_PANEL * DS2TA_PANEL);
        plan->kernels->unpack(&panel, tile % DS2TA_PANEL, node->quads, scratch->quads);
        memset(scratch->quads + quads, 0, held - quads);
        memset(scratch->turned, 0, (size_t)((count + DS2TA_SPAN - 1) / DS2TA_SPAN * plan->groups) * DS2TA_TILE * DS2TA_SPAN);
        sum_tile(plan, node, scratch, tile, count, panel.together > 1 ? 1 : 2);
        uint8_t *out = ds2ta_patterns(plan, node->op.output, 0, 0) + (size_t)first * (size_t)node->stride_out + (size_t)tile * DS2TA_TILE;
        for (int n = 0; n < count; n += DS2TA_SPAN)
            for (int group = 0; group < plan->groups; group++)
                plan->kernels->subsets->turn(scratch->turned + (size_t)(n / DS2TA_SPAN * plan->groups + group) * DS2TA_TILE * DS2TA_SPAN,
                                             out + (size_t)group * group_stride + (size_t)n * (size_t)node->stride_out,
                                             (size_t)node->stride_out, count - n < DS2TA_SPAN ? count - n : DS2TA_SPAN);
    }
}
