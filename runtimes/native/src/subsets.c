/* Sums of subsets: the third way to a layer's sums, the same time whatever fires. Spikes of four channels at one step are the number of a
 * subset of four rows, whose sum stands in a table. Tables are made for a block of tokens, four output channels at a time; they take more
 * room than the weights. */
#include "plan.h"

#include <string.h>

/* What is looked up where a kernel reaches beyond a picture. */
static const uint8_t SILENCE[DS2TA_MAX_ROWS + 1 + DS2TA_TILE];

int ds2ta_may_use_subsets(const ds2ta_plan *plan, const ds2ta_node *node) {
    int fires = plan->values[node->op.output].planes > 0;
    return node->set_pairs && plan->kernels->subsets && fires && !plan->state && !ds2ta_fires_traced(plan, node);
}

/* Where the rows of a span lie, under one place of the kernel. */
static void find_rows(const ds2ta_plan *plan, const ds2ta_node *node, int first, int count, int place, const uint8_t *patterns,
                      const uint8_t **rows) {
    const ds2ta_value *value = plan->values + node->op.inputs[0];
    int down = ds2ta_down(&node->op, place), across = ds2ta_across(&node->op, place);
    int width = node->op.kind == DS2TA_CONV ? value->width : ds2ta_tokens(value), height = ds2ta_tokens(value) / width;
    int y = first / width + down, x = first % width + across;
    for (int n = 0; n < DS2TA_SPAN; n++) {
        int inside = n < count && y >= 0 && y < height && x >= 0 && x < width;
        rows[n] = inside ? patterns + ((size_t)y * (size_t)width + (size_t)x) * (size_t)node->stride_in : SILENCE;
        if (++x == width + across) x = across, y++;
    }
}

/* Sets of all rows, for one group of a span and one plane. */
static void index_all(const ds2ta_plan *plan, const ds2ta_node *node, const uint8_t *patterns, int first, int count, uint8_t *indices) {
    const uint8_t *rows[DS2TA_SPAN];
    size_t sets = (size_t)(node->channels / DS2TA_SET);
    for (int place = 0; place < node->op.size * node->op.size; place++) {
        find_rows(plan, node, first, count, place, patterns, rows);
        plan->kernels->subsets->index(rows, (int)sets, indices + (size_t)place * sets * DS2TA_SET_BYTES);
    }
}

static void pick(const uint8_t *restrict from, const uint16_t *restrict chosen, int count, uint8_t *restrict to) {
    for (int k = 0; k < count; k++) to[k] = from[chosen[k]];
}

/* Sets of chosen rows: their patterns are put beside each other first. */
static void index_chosen(const ds2ta_plan *plan, const ds2ta_node *node, const ds2ta_sets *sets, const uint8_t *patterns, int first, int count,
                         uint8_t *room, uint8_t *indices) {
    const uint8_t *rows[DS2TA_SPAN];
    size_t width = (size_t)sets->pairs * DS2TA_PAIR * DS2TA_SET;
    for (int n = 0; n < DS2TA_SPAN; n++) {
        const uint8_t *from = n < count ? patterns + (size_t)(first + n) * (size_t)node->stride_in : SILENCE;
        uint8_t *to = room + (size_t)n * width;
        pick(from, sets->chosen, sets->count, to);
        memset(to + sets->count, 0, width - (size_t)sets->count);
        rows[n] = to;
    }
    plan->kernels->subsets->index(rows, sets->pairs * DS2TA_PAIR, indices);
}

static void merge(const uint8_t *restrict from, int count, uint8_t *restrict to) {
    for (int c = 0; c < count; c++) to[c] |= from[c];
}

/* Chooses the rows of a linear layer's plane that fire in this block, if they are few; higher planes of counts are mostly empty. */
static void choose_rows(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int plane, int first, int count) {
    ds2ta_sets *sets = scratch->sets + plane;
    uint16_t *chosen = scratch->chosen + scratch->chosen_count;
    uint8_t *fires = memset(scratch->tables, 0, (size_t)node->stride_in);
    *sets = (ds2ta_sets){NULL, 0, node->set_pairs, 0};
    if (node->op.kind != DS2TA_LINEAR) return;
    for (int group = 0; group < plan->groups; group++)
        for (int n = first; n < first + count; n++)
            merge(ds2ta_patterns(plan, node->op.inputs[0], plane, group) + (size_t)n * (size_t)node->stride_in, node->channels, fires);
    int most = node->rows * 3 / 4, size = 0;
    most = most < node->rows - scratch->chosen_count ? most : node->rows - scratch->chosen_count;
    for (int c = 0; c < node->channels; c++) {
        if (!fires[c]) continue;
        if (size == most) return;
        chosen[size++] = (uint16_t)c;
    }
    *sets = (ds2ta_sets){chosen, size, (size + DS2TA_PAIR * DS2TA_SET - 1) / (DS2TA_PAIR * DS2TA_SET), 0};
    scratch->chosen_count += size;
}

/* The block's indices: [span][group][plane][set][step][token][four]. */
static void index_block(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int first, int count) {
    uint8_t *indices = scratch->indices;
    scratch->chosen_count = 0;
    scratch->set_bytes = 0;
    for (int plane = 0; plane < node->planes; plane++) {
        choose_rows(plan, node, scratch, plane, first, count);
        scratch->sets[plane].at = scratch->set_bytes;
        scratch->set_bytes += (size_t)scratch->sets[plane].pairs * DS2TA_PAIR * DS2TA_SET_BYTES;
    }
    for (int n = 0; n < count; n += DS2TA_SPAN)
        for (int group = 0; group < plan->groups; group++, indices += scratch->set_bytes)
            for (int plane = 0; plane < node->planes; plane++) {
                const ds2ta_sets *sets = scratch->sets + plane;
                const uint8_t *patterns = ds2ta_patterns(plan, node->op.inputs[0], plane, group);
                if (sets->chosen)
                    index_chosen(plan, node, sets, patterns, first + n, count - n, scratch->tables, indices + sets->at);
                else
                    index_all(plan, node, patterns, first + n, count - n, indices + sets->at);
            }
}

/* A tile's weights: of all rows, and behind them of those that planes have chosen. */
static void unpack_tile(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, const ds2ta_panel *panel, int tile) {
    size_t quad = 4 * DS2TA_TILE, held = (size_t)node->set_pairs * DS2TA_PAIR * DS2TA_SET / 4 * quad, row_size = (size_t)panel->width * DS2TA_TILE;
    plan->kernels->unpack(panel, tile, node->quads, scratch->quads);
    memset(scratch->quads + (size_t)node->quads * quad, 0, held - (size_t)node->quads * quad);
    for (int plane = 0; plane < node->planes; plane++) {
        const ds2ta_sets *sets = scratch->sets + plane;
        const ds2ta_panel chosen = {scratch->tables, 1, panel->together};
        int rows = sets->pairs * DS2TA_PAIR * DS2TA_SET;
        if (!sets->chosen) continue;
        for (int k = 0; k < rows; k++) {
            size_t row = k < sets->count ? sets->chosen[k] : (size_t)node->rows; /* behind the last one, a row of zeros */
            memcpy(scratch->tables + (size_t)k * DS2TA_TILE, panel->rows + row * row_size + (size_t)tile * DS2TA_TILE, DS2TA_TILE);
        }
        plan->kernels->unpack(&chosen, 0, rows / 4, scratch->quads + held);
        held += (size_t)rows / 4 * quad;
    }
}

/* Makes the tables of four channels from `channel` of the tile on; adds up what is looked up, and what it is too much. */
static int make_terms(const ds2ta_plan *plan, const ds2ta_node *node, const ds2ta_scratch *scratch, int channel, int limbs, ds2ta_term *terms,
                      int32_t *begin) {
    int count = 0;
    uint8_t *tables = scratch->tables;
    for (int limb = 0; limb < limbs; limb++) {
        const enum ds2ta_limb part = limbs == 1 ? DS2TA_WHOLE : limb ? DS2TA_HIGH : DS2TA_LOW;
        const int8_t *quads = scratch->quads;
        const uint8_t *of_all = tables;
        int32_t below_all[DS2TA_QUARTET], below[DS2TA_QUARTET];
        plan->kernels->subsets->tabulate(quads, node->set_pairs, channel, part, tables, below_all);
        tables += ds2ta_table_size(node->set_pairs), quads += (size_t)node->set_pairs * DS2TA_PAIR * DS2TA_SET * DS2TA_TILE;
        for (int plane = 0; plane < node->planes; plane++, count++) {
            const ds2ta_sets *sets = scratch->sets + plane;
            terms[count] = (ds2ta_term){sets->chosen ? tables : of_all, NULL, sets->pairs, 1 << (plane + 4 * limb)};
            if (sets->chosen) {
                plan->kernels->subsets->tabulate(quads, sets->pairs, channel, part, tables, below);
                tables += ds2ta_table_size(sets->pairs), quads += (size_t)sets->pairs * DS2TA_PAIR * DS2TA_SET * DS2TA_TILE;
            }
            for (int output = 0; output < DS2TA_QUARTET; output++)
                begin[output] -= (sets->chosen ? below : below_all)[output] * terms[count].multiplier;
        }
    }
    return count;
}

/* Patterns of a tile: [span][group][channel][token]. */
static void sum_tile(const ds2ta_plan *plan, const ds2ta_node *node, const ds2ta_scratch *scratch, int tile, int count, int limbs) {
    const ds2ta_subsets *subsets = plan->kernels->subsets;
    ds2ta_neuron neuron = ds2ta_neuron_of(plan, node);
    size_t stride = (size_t)plan->groups * DS2TA_GROUP * DS2TA_SPAN;
    int spans = (count + DS2TA_SPAN - 1) / DS2TA_SPAN;
    ds2ta_ahead next = tile % DS2TA_PANEL ? (ds2ta_ahead){NULL, 0} : ds2ta_after_tile(plan, node, tile, DS2TA_PANEL);
    for (int channel = 0; channel < DS2TA_TILE; channel += DS2TA_QUARTET) {
        size_t column = (size_t)tile * DS2TA_TILE + (size_t)channel;
        if (column >= (size_t)node->op.out_channels) break; /* their patterns are zeros: see ds2ta_sum_subsets */
        ds2ta_prefetch(next, channel / DS2TA_QUARTET, DS2TA_TILE / DS2TA_QUARTET);
        ds2ta_term terms[DS2TA_MAX_PLANES];
        int32_t begin[DS2TA_QUARTET] = {0};
        int term_count = make_terms(plan, node, scratch, channel, limbs, terms, begin);
        for (int i = 0; i < term_count; i++) terms[i].indices = scratch->indices + scratch->sets[i % node->planes].at;
        uint8_t *out = scratch->turned + (size_t)channel * DS2TA_SPAN;
        if (plan->groups == 1)
            subsets->add_and_fire(terms, term_count, begin, &neuron, node->bias + column, node->threshold + column, spans, scratch->set_bytes, out);
        for (int span = 0; plan->groups > 1 && span < spans; span++, out += (size_t)plan->groups * DS2TA_TILE * DS2TA_SPAN) {
            for (int group = 0; group < plan->groups; group++) {
                subsets->add(terms, term_count, begin, scratch->across + group * DS2TA_GROUP * DS2TA_SPAN, stride);
                for (int i = 0; i < term_count; i++) terms[i].indices += scratch->set_bytes;
            }
            subsets->fire(&neuron, scratch->across, stride, node->bias + column, node->threshold + column, out, DS2TA_TILE * DS2TA_SPAN);
        }
    }
}

void ds2ta_sum_subsets(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int first, int count) {
    if (!ds2ta_is_here(node, first, count, &scratch->indexed)) index_block(plan, node, scratch, first, count);
    scratch->listed.count = 0; /* lists lay there */
    size_t group_stride = (size_t)node->tokens * (size_t)node->stride_out;
    for (int tile = 0; tile < node->tiles; tile++) {
        ds2ta_panel panel = ds2ta_panel_of(node, tile / DS2TA_PANEL * DS2TA_PANEL);
        unpack_tile(plan, node, scratch, &panel, tile % DS2TA_PANEL);
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
