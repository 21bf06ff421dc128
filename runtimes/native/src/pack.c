/* Copies an operation's arrays into the form that the kernels read. */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

/* Memory aligned to a register, counted; zeroed. */
static void *take(int64_t *bytes, size_t count, size_t size) {
    size_t wanted = (count * size + 63) / 64 * 64 + 64;
    void *memory = NULL;
    if (*bytes < 0 || posix_memalign(&memory, 64, wanted)) {
        *bytes = -1;
        return NULL;
    }
    memset(memory, 0, wanted);
    *bytes += (int64_t)wanted;
    return memory;
}

void *ds2ta_take(int64_t *bytes, size_t count, size_t size) { return take(bytes, count, size); }

/* How many rows of each panel may be added in 8 bits. */
static void find_together(ds2ta_node *node) {
    size_t panel_size = (size_t)node->rows * DS2TA_PANEL * DS2TA_TILE, size = (size_t)node->rows * (size_t)node->op.out_channels;
    for (size_t first = 0; first < size; first += panel_size) {
        int largest = 1;
        for (size_t i = first; i < first + panel_size && i < size; i++)
            largest = abs(node->op.weight[i]) > largest ? abs(node->op.weight[i]) : largest;
        node->together[first / panel_size] = largest <= 127 / DS2TA_FILL ? DS2TA_FILL : 1;
    }
}

/* In the graph a convolution's weights are [out][down][across][channel]; rows are [across][down][channel]. */
static void pack_rows(ds2ta_node *node) {
    size_t rows = (size_t)node->rows, channels = (size_t)node->channels;
    int size = node->op.kind == DS2TA_CONV ? node->op.size : 1;
    for (int first = 0; first < node->tiles; first += DS2TA_PANEL) {
        ds2ta_panel panel = ds2ta_panel_of(node, first);
        uint8_t *to = node->packed + (panel.rows - node->packed);
        size_t row_size = (size_t)panel.width * DS2TA_TILE;
        for (size_t i = 0; i < (size_t)node->held_rows * row_size; i += 2) to[i] = (uint8_t)ds2ta_bias(&panel);
        for (int c = 0; c < panel.width * DS2TA_TILE && first * DS2TA_TILE + c < node->op.out_channels; c++) {
            const int8_t *weight = node->op.weight + (size_t)(first * DS2TA_TILE + c) * rows;
            int high = c % DS2TA_TILE / (DS2TA_TILE / 2), bias = high ? 0 : ds2ta_bias(&panel);
            uint8_t *column = to + c / DS2TA_TILE * DS2TA_TILE + c % (DS2TA_TILE / 2) * 2 + high;
            for (int place = 0; place < size * size; place++) {
                const int8_t *from = weight + (size_t)(place % size * size + place / size) * channels;
                for (size_t i = 0; i < channels; i++, column += row_size) *column = (uint8_t)(from[i] + bias);
            }
        }
    }
}

/* Adds the magnitudes of rows [from, to) to every channel's sum; says whether all stay within 16 bits. */
static int fits(const ds2ta_node *node, int32_t *sums, int from, int to) {
    int all = 1;
    for (int tile = 0; tile < node->tiles; tile++) {
        ds2ta_panel panel = ds2ta_panel_of(node, tile / DS2TA_PANEL * DS2TA_PANEL);
        for (int row = from; row < to; row++)
            for (int c = 0; c < DS2TA_TILE; c++) {
                int32_t *sum = sums + tile * DS2TA_TILE + c;
                *sum += abs(ds2ta_weight(&panel, (size_t)row, tile % DS2TA_PANEL, c));
                all &= *sum <= 32767;
            }
    }
    return all;
}

/* Rows [from, to) of a unit: one row of a linear layer, or one part of one column of a convolution's kernel. */
static void unit_rows(const ds2ta_node *node, int unit, int *from, int *to) {
    if (node->op.kind == DS2TA_LINEAR) {
        *from = unit, *to = unit + 1;
        return;
    }
    int size = node->op.size * node->channels, begin = unit % node->parts * node->part_size, end = begin + node->part_size;
    *from = unit / node->parts * size + begin;
    *to = unit / node->parts * size + (end < size ? end : size);
}

/* Cuts the units into chunks, each as long as sums fit; returns whether every single unit fits. */
static int cut(ds2ta_node *node, int32_t *sums) {
    int units = node->op.kind == DS2TA_LINEAR ? node->rows : node->op.size * node->parts;
    size_t size = (size_t)node->tiles * DS2TA_TILE * sizeof *sums;
    node->chunk_count = 1;
    node->chunks[0] = 0;
    memset(sums, 0, size);
    for (int unit = 0; unit < units; unit++) {
        int from, to;
        unit_rows(node, unit, &from, &to);
        if (fits(node, sums, from, to)) continue;
        memset(sums, 0, size);
        if (!fits(node, sums, from, to)) return 0;
        if (node->chunks[node->chunk_count - 1] < unit) node->chunks[node->chunk_count++] = unit;
    }
    node->chunks[node->chunk_count] = units;
    return 1;
}

/* How many rows' sums always fit, by the largest weight that their panels' form allows. */
static int most_listed(const ds2ta_node *node) {
    for (int panel = 0; panel * DS2TA_PANEL < node->tiles; panel++)
        if (node->together[panel] == 1) return 32767 / 128;
    return 32767 / (127 / DS2TA_FILL);
}

/* Few parts, which are fast to join; or if these do not fit, parts so small that they always do. */
static int make_chunks(ds2ta_node *node, int64_t *bytes) {
    enum { FEW_PARTS = 3 };
    int size = node->op.size * node->channels, most = (size + DS2TA_PART - 1) / DS2TA_PART, fit = 0;
    int64_t unused = 0;
    int32_t *sums = take(&unused, (size_t)node->tiles * DS2TA_TILE, sizeof *sums);
    node->chunks = take(bytes, (size_t)node->rows + 2, sizeof *node->chunks);
    for (int parts = 1; sums && node->chunks && !fit; parts = parts < FEW_PARTS ? parts + 1 : most) {
        node->parts = parts < most ? parts : most;
        node->part_size = (size + node->parts - 1) / node->parts;
        fit = cut(node, sums);
    }
    if (fit && node->op.kind == DS2TA_LINEAR && node->planes > 1 && node->chunk_count == 1) node->most_listed = most_listed(node);
    free(sums);
    return fit;
}

/* So many tokens at once that what is made of them stays in the second-level cache. */
static int block_of(int64_t one, int64_t cache, int least) {
    int64_t block = cache / one;
    return (int)(block < least ? least : block > 64 ? 64 : block);
}

/* Sums of subsets need whole sets of channels under a place of the kernel, and multipliers that fit a signed byte. */
static void set_subsets(const ds2ta_plan *plan, ds2ta_node *node) {
    if (node->channels % DS2TA_SET) return;
    for (int panel = 0; panel * DS2TA_PANEL < node->tiles; panel++)
        if (node->planes > (node->together[panel] > 1 ? 7 : 3)) return;
    node->set_pairs = (node->rows / DS2TA_SET + 1) / DS2TA_PAIR;
    node->subset_block =
        DS2TA_SPAN * block_of((int64_t)node->set_pairs * DS2TA_PAIR * DS2TA_SET_BYTES * node->planes * plan->groups, 448 << 10, 1);
}

static void set_blocks(const ds2ta_plan *plan, ds2ta_node *node) {
    node->block = block_of((int64_t)node->rows * node->planes * plan->groups * (int64_t)sizeof(uint16_t), 256 << 10, 8);
    node->dense_block = block_of((int64_t)ds2ta_count_stride(node) * ds2ta_counted(plan), 128 << 10, 8);
}

static int lists_alike(const ds2ta_node *one, const ds2ta_node *other) {
    if (one->op.kind != DS2TA_LINEAR || other->op.kind != DS2TA_LINEAR || one->op.inputs[0] != other->op.inputs[0]) return 0;
    if (one->most_listed != other->most_listed) return 0;
    return one->chunk_count == other->chunk_count && !memcmp(one->chunks, other->chunks, (size_t)(one->chunk_count + 1) * sizeof *one->chunks);
}

void ds2ta_share(ds2ta_plan *plan) {
    for (int i = 0, first = 0; i <= plan->node_count; i++) {
        if (i && i < plan->node_count && lists_alike(plan->nodes + i - 1, plan->nodes + i)) continue;
        for (int k = first; k < i; k++) plan->nodes[k].shared = k - first, plan->nodes[k].sharers = i - first;
        first = i;
    }
}

int64_t ds2ta_pack(ds2ta_plan *plan, ds2ta_node *node) {
    int64_t bytes = 0;
    const ds2ta_op *op = &node->op;
    if (op->kind == DS2TA_GIVEN) return 0;
    const ds2ta_value *in = op->inputs[0] >= 0 && op->kind != DS2TA_ENCODE ? plan->values + op->inputs[0] : NULL;
    if (op->kind >= DS2TA_NEURON) return ds2ta_pack_stream(plan, node);
    node->channels = in ? in->channels : op->in_channels;
    node->planes = in ? in->planes : 1;
    node->tokens = in ? ds2ta_tokens(in) : 0;
    node->stride_in = ds2ta_padded(node->channels);
    if (op->kind == DS2TA_POOL || op->kind == DS2TA_ADD) {
        node->stride_out = ds2ta_padded(plan->values[op->output].channels);
        return 0;
    }
    node->stride_out = ds2ta_padded(op->out_channels);
    node->tiles = node->stride_out / DS2TA_TILE;
    node->rows = op->kind == DS2TA_ATTENTION || op->kind == DS2TA_READOUT ? 0 : op->size * op->size * node->channels;
    size_t outputs = (size_t)node->stride_out;
    node->bias = take(&bytes, outputs, sizeof(int32_t));
    node->threshold = take(&bytes, outputs, sizeof(int32_t));
    if (op->kind == DS2TA_LINEAR || op->kind == DS2TA_CONV) {
        node->quads = (node->rows + 3) / 4;
        node->held_rows = node->rows / 4 * 4 + 4;
        node->packed = take(&bytes, (size_t)node->held_rows * outputs, 1);
        node->together = take(&bytes, (size_t)node->tiles, sizeof(int));
    }
    size_t entries = op->kind == DS2TA_ENCODE      ? (size_t)op->in_channels * 256
                     : op->kind == DS2TA_ATTENTION ? (size_t)op->heads * (size_t)op->entries
                                                   : 0;
    if (entries) node->table = take(&bytes, entries, sizeof(int16_t));
    if (op->kind == DS2TA_READOUT) node->weight = take(&bytes, (size_t)op->out_channels * (size_t)op->in_channels, 1);
    if (bytes < 0) return -1;
    for (size_t i = 0; i < outputs; i++) {
        int real = i < (size_t)op->out_channels;
        node->bias[i] = real ? op->bias[i] : 0;
        node->threshold[i] = real && op->threshold ? op->threshold[i] : INT32_MAX;
    }
    if (entries) memcpy(node->table, op->table, entries * sizeof(int16_t));
    if (op->kind == DS2TA_ATTENTION) {
        node->head_width = (op->out_channels / op->heads + 31) / 32 * 32;
        node->head_words = (op->out_channels / op->heads + 63) / 64;
        node->padded_tokens = ds2ta_padded(node->tokens);
        int64_t more = ds2ta_pack_abreast(plan, node);
        if (more < 0) return -1;
        bytes += more;
    }
    if (node->weight) memcpy(node->weight, op->weight, (size_t)op->out_channels * (size_t)op->in_channels);
    if (op->kind == DS2TA_ENCODE) {
        int64_t taken = ds2ta_pack_encoder(plan, node);
        return taken < 0 ? -1 : bytes + taken;
    }
    if (node->packed) {
        find_together(node);
        pack_rows(node);
        if (!make_chunks(node, &bytes)) return -1;
        set_blocks(plan, node);
        set_subsets(plan, node);
        int64_t more = ds2ta_pack_narrow(plan, node);
        if (more < 0) return -1;
        bytes += more;
    }
    return bytes;
}

void ds2ta_unpack(ds2ta_node *node) {
    free(node->packed), free(node->wide), free(node->pairs), free(node->bias), free(node->threshold);
    free(node->table), free(node->weight), free(node->together), free(node->chunks), free(node->short_table);
    free(node->reach), free(node->narrow_bias), free(node->narrow_threshold);
}
