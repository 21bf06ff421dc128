/* Linear layer and convolution: weights of what fires, neurons. Three ways lead to the same sums: rows of weights are added where
 * a list says that a channel fires, everything is multiplied, or sums of four rows are looked up. Which one is shortest is counted, block of
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

/* In rows added of one tile: what a list takes beside its rows, once a tile; what sorting takes beside its channels; joining sorted
 * pixels; making the tables of a row of 64 channels, and what a token takes beside looking up. So many rows lie in the first-level cache;
 * those of others take a quarter longer. */
enum { LIST_COST = 44, SORT_COST = 240, JOIN_COST = 350, TABLE_COST = 22, SPAN_COST = 25, NEAR_ROWS = 512 };

static int64_t cost_of_lists(const ds2ta_plan *plan, const ds2ta_node *node, int first, int count) {
    int64_t spikes = 0, lists = 0; /* lists that are not empty, about */
    for (int group = 0; group < plan->groups; group++)
        for (int plane = 0; plane < node->planes; plane++) {
            const uint8_t *patterns = ds2ta_patterns(plan, node->op.inputs[0], plane, group) + (size_t)first * (size_t)node->stride_in;
            int64_t listed = (int64_t)plan->kernels->listed(patterns, (size_t)count * (size_t)node->stride_in);
            spikes += listed;
            lists += listed < count ? listed : count;
        }
    int64_t rows = spikes * node->op.size * node->op.size * node->tiles * (node->together[0] > 1 ? 7 : 8) / 8;
    if (node->rows > NEAR_ROWS) rows += rows / 4;
    int64_t sorting = node->op.kind == DS2TA_CONV ? SORT_COST + JOIN_COST : (SORT_COST + node->rows) / node->sharers;
    return rows + lists * (sorting + LIST_COST * node->chunk_count * node->tiles);
}

static int64_t cost_of_dense(const ds2ta_plan *plan, const ds2ta_node *node, int count) {
    return (int64_t)count * plan->groups * node->rows * node->tiles * plan->kernels->dense_cost / 16 / ds2ta_fold(plan);
}

static int64_t cost_of_subsets(const ds2ta_plan *plan, const ds2ta_node *node, int count) {
    int64_t rows = (int64_t)node->set_pairs * DS2TA_PAIR * DS2TA_SET * (node->together[0] > 1 ? 1 : 2);
    int64_t tokens = (count + DS2TA_SPAN - 1) / DS2TA_SPAN * DS2TA_SPAN * plan->groups;
    int64_t looked_up = rows * node->planes * plan->kernels->subsets->cost / 16 + SPAN_COST;
    return (rows * TABLE_COST + tokens * looked_up) * node->op.out_channels / DS2TA_TILE;
}

/* Whether sums of subsets take less time than the other ways for tokens [first, first + count). */
static int is_tabled(const ds2ta_plan *plan, const ds2ta_node *node, int first, int count) {
    if (!ds2ta_may_use_subsets(plan, node)) return 0;
    if (plan->way != DS2TA_BY_DENSITY) return plan->way == DS2TA_SUBSETS_WHERE_POSSIBLE;
    if (!plan->kernels->subsets->cost) return 0;
    int64_t cost = cost_of_subsets(plan, node, count);
    return cost < cost_of_lists(plan, node, first, count) && (node->planes > plan->kernels->dense_planes || cost < cost_of_dense(plan, node, count));
}

/* Whether multiplying everything takes less time than the lists of tokens [first, first + count). */
static int is_dense(const ds2ta_plan *plan, const ds2ta_node *node, int first, int count) {
    if (plan->way == DS2TA_LISTED || node->planes > plan->kernels->dense_planes) return 0;
    if (plan->way == DS2TA_DENSE_WHERE_POSSIBLE) return 1;
    return cost_of_lists(plan, node, first, count) > cost_of_dense(plan, node, count);
}

/* Weights are read once and seldom lie in a near cache: while a token is worked on, its share of what is needed next is fetched. */
typedef struct {
    const uint8_t *begin;
    size_t lines;
} ahead;

static ahead after_tile(const ds2ta_plan *plan, const ds2ta_node *node, int tile, int width) {
    while (tile + width >= node->tiles || !node->packed) {
        if (++node == plan->nodes + plan->node_count) return (ahead){NULL, 0};
        tile = 0, width = 0;
    }
    int tiles = node->tiles - tile - width < DS2TA_PANEL ? 1 : DS2TA_PANEL;
    return (ahead){ds2ta_panel_of(node, (tile + width) / DS2TA_PANEL * DS2TA_PANEL).rows, (size_t)node->held_rows * (size_t)tiles};
}

static void fetch(ahead next, int n, int count) {
    size_t end = next.lines * (size_t)(n + 1) / (size_t)count;
    for (size_t line = next.lines * (size_t)n / (size_t)count; line < end; line++) __builtin_prefetch(next.begin + line * 64, 0, 2);
}

/* Adds the rows of every token's lists, panel by panel, and fires. */
static void add_rows(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int first, int count) {
    int per_group = node->planes * node->chunk_count, turns = plan->groups * per_group;
    size_t stride = (size_t)plan->groups * DS2TA_GROUP * DS2TA_TILE;
    for (int tile = 0; tile < node->tiles; tile += DS2TA_PANEL) {
        ds2ta_panel panel = ds2ta_panel_of(node, tile);
        ahead next = after_tile(plan, node, tile, panel.width);
        for (int n = 0; n < count; n++) {
            fetch(next, n, count);
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
        ahead next = tile % DS2TA_PANEL ? (ahead){NULL, 0} : after_tile(plan, node, tile, panel.width);
        plan->kernels->unpack(&panel, tile % DS2TA_PANEL, node->quads, scratch->quads);
        for (int n = 0; n < count; n += fold) {
            fetch(next, n / fold, (count + fold - 1) / fold);
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

static void list_block(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int first, int count, int end, int *pixels_listed) {
    if (ds2ta_is_here(node, first, count, &scratch->listed)) return;
    scratch->indexed.count = 0; /* indices lay there */
    if (node->op.kind == DS2TA_LINEAR) {
        ds2ta_list_linear(plan, node, scratch, first, count);
        return;
    }
    if (!*pixels_listed) ds2ta_list_pixels(plan, node, scratch, first, end);
    *pixels_listed = 1;
    ds2ta_list_conv(plan, node, scratch, first, count);
}

void ds2ta_weigh(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high) {
    int pixels_listed = 0, untabled = low; /* tokens before are not looked up */
    if (!node->shared) scratch->listed.count = scratch->counted.count = scratch->indexed.count = 0;
    for (int first = low, count; first < high; first += count) {
        count = high - first < node->subset_block ? high - first : node->subset_block;
        if (first >= untabled && is_tabled(plan, node, first, count)) {
            ds2ta_sum_subsets(plan, node, scratch, first, count);
            continue;
        }
        untabled = first >= untabled ? first + count : untabled;
        count = high - first < node->block ? high - first : node->block;
        if (is_dense(plan, node, first, count)) {
            count = count < node->dense_block ? count : node->dense_block;
            if (!ds2ta_is_here(node, first, count, &scratch->counted)) ds2ta_count_block(plan, node, scratch, first, count);
            multiply(plan, node, scratch, sample, first, count);
        } else {
            list_block(plan, node, scratch, first, count, high, &pixels_listed);
            add_rows(plan, node, scratch, sample, first, count);
        }
    }
}
