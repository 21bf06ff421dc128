/* Neurons in 16 bits: where so little fires that no current can leave them, rows are added and neurons fire at once, and no sum is widened or
 * written. */
#include "plan.h"

#include <string.h>

/* What the largest weights of a channel add up to is known for multiples of so many rows. */
enum { REACH_STEP = 16 };

static int32_t larger(int32_t a, int32_t b) { return a > b ? a : b; }
static int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }

/* reach[k] is at least what any k * REACH_STEP rows add up to in one channel, whose weights there are found[128 + weight] of. */
static void stretch(const int *found, int sign, int32_t *reach, int most) {
    int32_t sum = 0;
    int k = 0, rows = 0;
    for (int size = 128; size > 0; size--)
        for (int left = found[128 + sign * size]; left > 0;) {
            int taken = left < REACH_STEP - rows ? left : REACH_STEP - rows;
            sum += taken * size, left -= taken, rows += taken;
            if (rows < REACH_STEP) continue;
            reach[k + 1] = larger(reach[k + 1], sum);
            k++, rows = 0;
        }
    for (k++; k <= most; k++) reach[k] = larger(reach[k], sum);
}

static int16_t narrow(int32_t value) { return (int16_t)(value > INT16_MAX ? INT16_MAX : value < INT16_MIN ? INT16_MIN : value); }

/* Thresholds that nothing in 16 bits reaches are those of padded channels only, whose membranes are 0. */
static int is_narrow(const ds2ta_plan *plan, const ds2ta_node *node) {
    const ds2ta_op *op = &node->op;
    int window = op->taps > 1 && plan->steps > 1, fires = plan->values[op->output].planes > 0;
    if (!fires || plan->groups > 1 || window || op->guard_bits || op->leak_numerator != 1) return 0;
    for (int c = 0; c < op->out_channels; c++)
        if (op->threshold[c] > INT16_MAX) return 0;
    return node->planes * node->chunk_count <= DS2TA_MOST_NARROW;
}

int64_t ds2ta_pack_narrow(const ds2ta_plan *plan, ds2ta_node *node) {
    int64_t bytes = 0;
    if (!is_narrow(plan, node)) return 0;
    int most = (node->rows + REACH_STEP - 1) / REACH_STEP;
    node->reach = ds2ta_take(&bytes, (size_t)most + 1, sizeof *node->reach);
    node->narrow_bias = ds2ta_take(&bytes, (size_t)node->stride_out, sizeof *node->narrow_bias);
    node->narrow_threshold = ds2ta_take(&bytes, (size_t)node->stride_out, sizeof *node->narrow_threshold);
    if (bytes < 0) return -1;
    for (int c = 0; c < node->stride_out; c++)
        node->narrow_bias[c] = narrow(node->bias[c]), node->narrow_threshold[c] = narrow(node->threshold[c]);
    for (int c = 0; c < node->op.out_channels; c++) {
        int32_t bias = node->bias[c];
        node->largest_bias = larger(node->largest_bias, bias < 0 ? -(bias + 1) : bias);
        const int8_t *weight = node->op.weight + (size_t)c * (size_t)node->rows;
        int found[257] = {0};
        for (int row = 0; row < node->rows; row++) found[128 + weight[row]]++;
        stretch(found, 1, node->reach, most);
        stretch(found, -1, node->reach, most);
    }
    return bytes;
}

uint32_t ds2ta_longest_step(const uint32_t start[DS2TA_PATTERNS]) {
    uint32_t length[DS2TA_GROUP] = {0}, longest = 0;
    for (int i = 0; i < DS2TA_CLASSES; i++) length[ds2ta_step_changed(i)] += ds2ta_step_ends(i) ? start[i + 1] : 0 - start[i + 1];
    for (int t = 0; t < DS2TA_GROUP; t++) longest = length[t] > longest ? length[t] : longest;
    return longest;
}

/* A list may have more rows than there are, which are zeros. */
static int32_t reach_of(const ds2ta_node *node, uint32_t listed) {
    int32_t rows = listed < (uint32_t)node->rows ? (int32_t)listed : node->rows;
    return smaller(rows * 128, node->reach[(rows + REACH_STEP - 1) / REACH_STEP]);
}

static int list_count(const ds2ta_node *node) { return node->planes * node->chunk_count; }

void ds2ta_find_narrow(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int count) {
    memset(scratch->narrow, 0, (size_t)count);
    if (!node->reach || plan->state || ds2ta_fires_traced(plan, node)) return;
    const uint32_t *longest = scratch->longest;
    for (int n = 0; n < count; n++) {
        int64_t current = node->largest_bias;
        for (int plane = 0; plane < node->planes; plane++) {
            uint32_t rows = 0;
            for (int chunk = 0; chunk < node->chunk_count; chunk++) rows += *longest++;
            current += (int64_t)reach_of(node, rows) << plane;
        }
        scratch->narrow[n] = current <= INT16_MAX;
    }
}

/* The lists of the block's n-th token in which there is something, the highest plane's first. */
static int put_in_order(const ds2ta_node *node, const ds2ta_scratch *scratch, int n, ds2ta_listed *lists) {
    int count = 0, above = 0;
    for (int i = list_count(node) - 1; i >= 0; i--) {
        size_t list = (size_t)n * (size_t)list_count(node) + (size_t)i;
        const uint32_t *start = scratch->start + list * DS2TA_PATTERNS;
        int plane = i / node->chunk_count;
        if (!start[DS2TA_CLASSES]) continue;
        if (count) lists[count - 1].shift = above - plane;
        lists[count++] = (ds2ta_listed){scratch->list + scratch->at[list], start, plane};
        above = plane;
    }
    return count;
}

int ds2ta_fire_narrow(const ds2ta_plan *plan, const ds2ta_node *node, const ds2ta_scratch *scratch, const ds2ta_panel *panel, int n, int token,
                      int tile) {
    ds2ta_listed lists[DS2TA_MOST_NARROW];
    if (!scratch->narrow[n]) return 0;
    int count = put_in_order(node, scratch, n, lists);
    ds2ta_neuron neuron = ds2ta_neuron_of(plan, node);
    size_t column = (size_t)tile * DS2TA_TILE;
    uint8_t *out = ds2ta_patterns(plan, node->op.output, 0, 0) + (size_t)token * (size_t)node->stride_out + column;
    return plan->kernels->fire_rows(panel, lists, count, &neuron, node->narrow_bias + column, node->narrow_threshold + column, out);
}
