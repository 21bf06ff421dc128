/* Attention of DS2TA_SPAN queries side by side: the faster way where a table's entries and a head's scores fit bytes, nothing inside is
 * traced and nothing remembered. A head's queries, keys and values are laid out once for all steps, and what a span makes of them, up to
 * its neurons' spikes, is little enough for the first-level cache. */
#include "plan.h"

#include <string.h>

/* Where a head's arrays lie in scratch->abreast, and how far apart their parts are. */
typedef struct {
    int width, bytes, channels, quads;
    size_t query_plane, key_plane;            /* from one byte of bits to the next */
    size_t query_step, key_step, value_step;  /* from one step to the next */
    size_t sum;                               /* integers from one channel to the next */
    uint8_t *queries, *keys;                  /* [step][byte][token] */
    uint8_t *values;                          /* [step][quad of tokens][channel][4] */
    uint8_t *map;                             /* [quad of keys][query][4] */
    uint8_t *patterns;                        /* [group][channel][query] */
    int32_t *sums;                            /* [channel][step][query] */
} layout;

/* The next `size` bytes of the room; NULL where only the sizes are asked for. */
static uint8_t *next(uint8_t *room, size_t *taken, size_t size) {
    uint8_t *here = room ? room + *taken : NULL;
    *taken += size;
    return here;
}

/* The arrays one behind the other, all of them whole registers, for so many queries; returns where they end. */
static size_t lay_out(const ds2ta_plan *plan, const ds2ta_node *node, uint8_t *room, int queries, layout *to) {
    size_t groups = (size_t)plan->groups, steps = groups * DS2TA_GROUP, taken = 0;
    to->width = node->op.out_channels / node->op.heads;
    to->bytes = (to->width + 7) / 8;
    to->channels = ds2ta_abreast_channels(to->width);
    to->quads = (node->tokens + 3) / 4;
    to->query_plane = (size_t)ds2ta_abreast_tokens(queries), to->key_plane = (size_t)ds2ta_abreast_tokens(node->tokens);
    to->query_step = (size_t)ds2ta_abreast_bytes(to->width) * to->query_plane;
    to->key_step = (size_t)ds2ta_abreast_bytes(to->width) * to->key_plane;
    to->value_step = (size_t)to->quads * (size_t)to->channels * 4;
    to->sum = steps * DS2TA_SPAN;
    to->queries = next(room, &taken, steps * to->query_step);
    to->keys = next(room, &taken, steps * to->key_step);
    to->values = next(room, &taken, steps * to->value_step);
    to->map = next(room, &taken, (size_t)to->quads * DS2TA_SPAN * 4);
    to->patterns = next(room, &taken, groups * (size_t)to->channels * DS2TA_SPAN);
    to->sums = (int32_t *)(void *)next(room, &taken, (size_t)to->channels * to->sum * sizeof *to->sums);
    return taken;
}

size_t ds2ta_abreast_room(const ds2ta_plan *plan, const ds2ta_node *node) {
    layout unused;
    return lay_out(plan, node, NULL, node->tokens, &unused);
}

int64_t ds2ta_pack_abreast(const ds2ta_plan *plan, ds2ta_node *node) {
    int64_t bytes = 0;
    int width = node->op.out_channels / node->op.heads;
    if (!plan->kernels->abreast || width >= DS2TA_ABREAST_ENTRIES) return 0;
    for (int h = 0; h < node->op.heads; h++)
        for (int score = 0; score <= width; score++) {
            int entry = node->table[h * node->op.entries + score];
            if (entry < 0 || entry > UINT8_MAX) return 0;
        }
    node->short_table = ds2ta_take(&bytes, (size_t)node->op.heads * DS2TA_ABREAST_ENTRIES, 1);
    if (!node->short_table) return -1;
    for (int h = 0; h < node->op.heads; h++)
        for (int score = 0; score <= width; score++)
            node->short_table[h * DS2TA_ABREAST_ENTRIES + score] = (uint8_t)node->table[h * node->op.entries + score];
    return bytes;
}

int ds2ta_may_go_abreast(const ds2ta_plan *plan, const ds2ta_node *node) {
    if (!node->short_table || plan->state || ds2ta_fires_traced(plan, node)) return 0;
    return !ds2ta_inner_trace(plan, node, DS2TA_SCORES) && !ds2ta_inner_trace(plan, node, DS2TA_DENOISED);
}

/* The head's queries [low, high), and all keys and values. */
static void lay_out_head(const ds2ta_plan *plan, const ds2ta_node *node, const layout *to, int head, int low, int high) {
    const ds2ta_abreast *abreast = plan->kernels->abreast;
    size_t stride = (size_t)node->stride_in, first = (size_t)head * (size_t)to->width;
    for (size_t group = 0; group < (size_t)plan->groups; group++) {
        const uint8_t *from[3];
        for (int side = 0; side < 3; side++) from[side] = ds2ta_patterns(plan, node->op.inputs[side], 0, (int)group) + first;
        abreast->planes(from[1], stride, node->tokens, to->width, to->keys + group * DS2TA_GROUP * to->key_step);
        abreast->quads(from[2], stride, node->tokens, to->width, to->values + group * DS2TA_GROUP * to->value_step);
        abreast->planes(from[0] + (size_t)low * stride, stride, high - low, to->width, to->queries + group * DS2TA_GROUP * to->query_step);
    }
}

/* The contexts of a span whose queries are the head's from `query` on. */
static void mix_span(const ds2ta_plan *plan, const layout *in, const uint8_t *table, size_t query) {
    const ds2ta_abreast *abreast = plan->kernels->abreast;
    for (size_t step = 0; step < (size_t)plan->steps; step++) {
        abreast->look_up(in->queries + step * in->query_step + query, in->query_plane, in->keys + step * in->key_step, in->key_plane, in->bytes,
                         in->quads, table, in->map);
        abreast->mix(in->map, in->values + step * in->value_step, in->quads, in->channels, in->sums + step * DS2TA_SPAN, in->sum);
    }
}

/* Four channels' numbers, of which there may be fewer. */
static const int32_t *quartet_of(const int32_t *numbers, int count, int32_t room[DS2TA_QUARTET]) {
    if (count >= DS2TA_QUARTET) return numbers;
    for (int i = 0; i < DS2TA_QUARTET; i++) room[i] = i < count ? numbers[i] : 0;
    return room;
}

/* The span's spikes, from its contexts. `out` is where its first token's and the head's first channel's are. */
static void fire_span(const ds2ta_plan *plan, const ds2ta_node *node, const layout *in, int head, int count, uint8_t *out) {
    ds2ta_neuron neuron = ds2ta_neuron_of(plan, node);
    size_t pattern_stride = (size_t)in->channels * DS2TA_SPAN, group_stride = (size_t)node->tokens * (size_t)node->stride_out;
    for (int channel = 0; channel < in->width; channel += DS2TA_QUARTET) {
        int column = head * in->width + channel, left = in->width - channel;
        int32_t some[2][DS2TA_QUARTET];
        plan->kernels->subsets->fire(&neuron, in->sums + (size_t)channel * in->sum, in->sum, quartet_of(node->bias + column, left, some[0]),
                                     quartet_of(node->threshold + column, left, some[1]), in->patterns + channel * DS2TA_SPAN, pattern_stride);
    }
    for (size_t group = 0; group < (size_t)plan->groups; group++)
        plan->kernels->abreast->turn(in->patterns + group * pattern_stride, out + group * group_stride, (size_t)node->stride_out, count, in->width);
}

void ds2ta_attend_abreast(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int low, int high) {
    layout in;
    lay_out(plan, node, scratch->abreast, high - low, &in);
    size_t stride = (size_t)node->stride_out, padding = stride - (size_t)node->op.out_channels, group_stride = (size_t)node->tokens * stride;
    uint8_t *out = ds2ta_patterns(plan, node->op.output, 0, 0) + (size_t)low * stride;
    for (int head = 0; head < node->op.heads; head++) {
        lay_out_head(plan, node, &in, head, low, high);
        for (int first = 0; first < high - low; first += DS2TA_SPAN) {
            int count = high - low - first < DS2TA_SPAN ? high - low - first : DS2TA_SPAN;
            mix_span(plan, &in, node->short_table + head * DS2TA_ABREAST_ENTRIES, (size_t)first);
            fire_span(plan, node, &in, head, count, out + (size_t)first * stride + head * in.width);
        }
    }
    for (int row = 0; padding && row < (high - low) * plan->groups; row++)
        memset(out + (size_t)(row / (high - low)) * group_stride + (size_t)(row % (high - low) + 1) * stride - padding, 0, padding);
}
