/* Linear layer and convolution: weights of what fires, neurons. Three ways lead to the same sums: rows of weights are added where
 * a list says that a channel fires, everything is multiplied, or sums of four rows are looked up. Which one is shortest is asked, block of
 * tokens by block of tokens. */
#include "plan.h"

#include <string.h>

ds2ta_neuron ds2ta_neuron_of(const ds2ta_plan *plan, const ds2ta_node *node) {
    const ds2ta_op *op = &node->op;
    return (ds2ta_neuron){plan->steps, op->taps, op->decay, op->guard_bits, op->leak_numerator, op->leak_shift};
}

void ds2ta_fire(const ds2ta_plan *plan, const ds2ta_node *node, const int32_t *product, int stride, int sample, int token, int tile) {
    ds2ta_neuron neuron = ds2ta_neuron_of(plan, node);
    size_t column = (size_t)tile * DS2TA_TILE;
    const ds2ta_value *value = plan->values + node->op.output;
    if (!value->planes) {
        ds2ta_store(plan, node, product, stride, sample, token, tile);
        return;
    }
    size_t group_stride = (size_t)ds2ta_tokens(value) * (size_t)node->stride_out;
    uint8_t *out = ds2ta_patterns(plan, node->op.output, 0, 0) + (size_t)token * (size_t)node->stride_out + column;
    int32_t *state = ds2ta_state_of(plan, node, sample, token);
    if (state) state += column * (size_t)node->op.taps;
    if (ds2ta_fires_traced(plan, node)) ds2ta_trace_fire(plan, node, &neuron, product, stride, state, sample, token, tile);
    if (state)
        plan->kernels->go_on(&neuron, product, stride, node->bias + column, node->threshold + column, state, out, group_stride);
    else
        plan->kernels->fire(&neuron, product, stride, node->bias + column, node->threshold + column, out, group_stride);
}

ds2ta_ahead ds2ta_after_tile(const ds2ta_plan *plan, const ds2ta_node *node, int tile, int width) {
    while (tile + width >= node->tiles || !node->packed) {
        if (++node == plan->nodes + plan->node_count) return (ds2ta_ahead){NULL, 0};
        tile = 0, width = 0;
    }
    int tiles = node->tiles - tile - width < DS2TA_PANEL ? 1 : DS2TA_PANEL;
    return (ds2ta_ahead){ds2ta_panel_of(node, (tile + width) / DS2TA_PANEL * DS2TA_PANEL).rows, (size_t)node->held_rows * (size_t)tiles};
}

void ds2ta_prefetch(ds2ta_ahead next, int n, int count) {
    size_t end = next.lines * (size_t)(n + 1) / (size_t)count;
    for (size_t line = next.lines * (size_t)n / (size_t)count; line < end; line++) __builtin_prefetch(next.begin + line * 64, 0, 2);
}

/* Adds the rows of every token's lists, panel by panel, and fires. */
static void add_rows(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int first, int count) {
    int per_group = node->planes * node->chunk_count, turns = plan->groups * per_group;
    size_t stride = (size_t)plan->groups * DS2TA_GROUP * DS2TA_TILE;
    ds2ta_find_narrow(plan, node, scratch, count);
    for (int tile = 0; tile < node->tiles; tile += DS2TA_PANEL) {
        ds2ta_panel panel = ds2ta_panel_of(node, tile);
        ds2ta_ahead next = ds2ta_after_tile(plan, node, tile, panel.width);
        for (int n = 0; n < count; n++) {
            ds2ta_prefetch(next, n, count);
            if (ds2ta_fire_narrow(plan, node, scratch, &panel, n, first + n, tile)) continue;
            for (int turn = 0; turn < turns; turn++) {
                int group = turn / per_group, plane = turn % per_group / node->chunk_count;
                size_t list = (size_t)n * (size_t)turns + (size_t)turn;
                plan->kernels->rows(&panel, scratch->list + scratch->at[list], scratch->start + list * DS2TA_PATTERNS, plane,
                                    turn % per_group == 0, scratch->product + group * DS2TA_GROUP * DS2TA_TILE, stride);
            }
            for (int t = 0; t < panel.width; t++)
                ds2ta_fire(plan, node, scratch->product + (size_t)t * stride, DS2TA_TILE, sample, first + n, tile + t);
        }
    }
}

/* Multiplies every token's counts, tile by tile, and fires. */
static void multiply(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int first, int count) {
    size_t stride = ds2ta_count_stride(node), size = DS2TA_GROUP * stride;
    int fold = ds2ta_fold(plan);
    for (int tile = 0; tile < node->tiles; tile++) {
        ds2ta_panel panel = ds2ta_panel_of(node, tile / DS2TA_PANEL * DS2TA_PANEL);
        ds2ta_ahead next = tile % DS2TA_PANEL ? (ds2ta_ahead){NULL, 0} : ds2ta_after_tile(plan, node, tile, panel.width);
        plan->kernels->unpack(&panel, tile % DS2TA_PANEL, node->quads, scratch->quads);
        for (int n = 0; n < count; n += fold) {
            ds2ta_prefetch(next, n / fold, (count + fold - 1) / fold);
            const uint8_t *counts = scratch->counts + (size_t)n * (size_t)ds2ta_counted(plan) * stride;
            for (int group = 0; group < plan->groups; group++)
                plan->kernels->dense(scratch->quads, node->quads, counts + (size_t)group * size, stride,
                                     scratch->product + group * DS2TA_GROUP * DS2TA_TILE);
            for (int k = 0; k < fold && n + k < count; k++)
                ds2ta_fire(plan, node, scratch->product + k * plan->steps * DS2TA_TILE, DS2TA_TILE, sample, first + n + k, tile);
        }
    }
}

int ds2ta_is_here(const ds2ta_node *node, int first, int count, ds2ta_block *held) {
    int here = node->shared && held->first == first && held->count == count;
    *held = (ds2ta_block){first, count};
    return here;
}

static void list_block(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int first, int count) {
    if (ds2ta_is_here(node, first, count, &scratch->listed)) return;
    scratch->indexed.count = 0; /* indices lay there */
    (node->op.kind == DS2TA_LINEAR ? ds2ta_list_linear : ds2ta_list_conv)(plan, node, scratch, first, count);
}

static int smaller(int a, int b) { return a < b ? a : b; }

void ds2ta_weigh(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    int most = ds2ta_may_use_subsets(plan, node) ? node->subset_block : node->block;
    if (!node->shared) scratch->listed.count = scratch->counted.count = scratch->indexed.count = 0;
    scratch->stack_row = -1;
    for (int block = low; block < high; block += most) {
        int end = smaller(block + most, high);
        enum ds2ta_way way = ds2ta_choose_way(plan, node, block, end - block);
        if (way == DS2TA_SUBSETS_WHERE_POSSIBLE) {
            ds2ta_sum_subsets(plan, node, scratch, block, end - block);
            continue;
        }
        for (int first = block, count; first < end; first += count) {
            if (way == DS2TA_DENSE_WHERE_POSSIBLE) {
                count = smaller(end - first, node->dense_block);
                if (!ds2ta_is_here(node, first, count, &scratch->counted)) ds2ta_count_block(plan, node, scratch, first, count);
                multiply(plan, node, scratch, sample, first, count);
            } else {
                count = smaller(end - first, node->block);
                list_block(plan, node, scratch, first, count);
                add_rows(plan, node, scratch, sample, first, count);
            }
        }
    }
}
