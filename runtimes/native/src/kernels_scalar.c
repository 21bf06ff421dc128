/* The kernels as plain loops: what the faster ones must equal. */
#include "kernels.h"

#include <string.h>

static size_t listed(const uint8_t *patterns, size_t size) {
    size_t count = 0;
    for (size_t i = 0; i < size; i++) count += patterns[i] != 0;
    return count;
}

static uint32_t fill(uint16_t *list, uint32_t length, int filler) {
    while (filler >= 0 && length % DS2TA_FILL) list[length++] = (uint16_t)filler;
    return length;
}

static void sort(const uint8_t *patterns, int channels, int base, int filler, uint16_t *list, uint32_t start[DS2TA_PATTERNS]) {
    uint32_t position = 0;
    for (int i = 0; i < DS2TA_CLASSES; i++) {
        start[i] = position;
        for (int c = 0; c < channels; c++)
            if (patterns[c] == ds2ta_pattern_of(i)) list[position++] = (uint16_t)(base + c);
        position = fill(list, position, filler);
    }
    start[DS2TA_CLASSES] = position;
}

static uint32_t join(const ds2ta_part *parts, int count, int filler, uint16_t *list, uint32_t start[DS2TA_PATTERNS]) {
    uint32_t position = 0;
    for (int i = 0; i < DS2TA_CLASSES; i++) {
        start[i] = position;
        for (int p = 0; p < count; p++)
            for (uint32_t k = parts[p].start[i]; k < parts[p].start[i + 1]; k++) list[position++] = (uint16_t)(parts[p].list[k] + parts[p].offset);
        position = fill(list, position, filler);
    }
    return start[DS2TA_CLASSES] = position;
}

static void rows(const ds2ta_panel *panel, const uint16_t *list, const uint32_t start[DS2TA_PATTERNS], int shift, int fresh, int32_t *sums,
                 size_t stride) {
    for (int tile = 0; tile < panel->width; tile++) {
        int32_t *to = sums + (size_t)tile * stride;
        if (fresh) memset(to, 0, DS2TA_GROUP * DS2TA_TILE * sizeof *to);
        for (int i = 0; i < DS2TA_CLASSES; i++)
            for (uint32_t k = start[i]; k < start[i + 1]; k++)
                for (int t = 0; t < DS2TA_GROUP; t++)
                    for (int c = 0; c < DS2TA_TILE && ds2ta_pattern_of(i) >> t & 1; c++)
                        to[t * DS2TA_TILE + c] += ds2ta_weight(panel, list[k], tile, c) * (1 << shift);
    }
}

static void fire(const ds2ta_neuron *neuron, const int32_t *product, int stride, const int32_t *bias, const int32_t *threshold,
                 uint8_t *out, size_t group_stride);

static int fire_rows(const ds2ta_panel *panel, const ds2ta_listed *lists, int count, const ds2ta_neuron *neuron, const int16_t *bias,
                      const int16_t *threshold, uint8_t *out) {
    int32_t product[DS2TA_PANEL * DS2TA_GROUP * DS2TA_TILE] = {0}, wide_bias[DS2TA_TILE], wide_threshold[DS2TA_TILE];
    int shift = 0;
    for (int k = count - 1; k >= 0; k--) {
        shift += lists[k].shift;
        rows(panel, lists[k].list, lists[k].start, shift, 0, product, DS2TA_GROUP * DS2TA_TILE);
    }
    for (int tile = 0; tile < panel->width; tile++, bias += DS2TA_TILE, threshold += DS2TA_TILE, out += DS2TA_TILE) {
        for (int c = 0; c < DS2TA_TILE; c++) wide_bias[c] = bias[c], wide_threshold[c] = threshold[c];
        fire(neuron, product + tile * DS2TA_GROUP * DS2TA_TILE, DS2TA_TILE, wide_bias, wide_threshold, out, 0);
    }
    return 1; /* nothing was in 16 bits */
}

static void count(const uint8_t *patterns, size_t plane_stride, int planes, int channels, uint8_t *counts, size_t stride) {
    for (size_t t = 0; t < DS2TA_GROUP; t++)
        for (size_t c = 0; c < (size_t)channels; c++) {
            counts[t * stride + c] = 0;
            for (int k = 0; k < planes; k++) counts[t * stride + c] |= (uint8_t)((patterns[(size_t)k * plane_stride + c] >> t & 1) << k);
        }
}

void ds2ta_unpack_plain(const ds2ta_panel *panel, int tile, int quad_count, int8_t *quads) {
    const int half = DS2TA_TILE / 2, bias = ds2ta_bias(panel);
    for (size_t row = 0; row < (size_t)quad_count * 4; row++) {
        const uint8_t *pair = panel->rows + (row * (size_t)panel->width + (size_t)tile) * DS2TA_TILE;
        int8_t *to = quads + row / 4 * 4 * DS2TA_TILE + row % 4;
        for (int c = 0; c < half; c++) {
            to[4 * c] = (int8_t)(pair[2 * c] - bias);
            to[4 * (c + half)] = (int8_t)pair[2 * c + 1];
        }
    }
}

void ds2ta_dense_plain(const int8_t *quads, int quad_count, const uint8_t *counts, size_t stride, int32_t *sums) {
    for (size_t t = 0; t < DS2TA_GROUP; t++)
        for (int c = 0; c < DS2TA_TILE; c++) {
            int32_t sum = 0;
            for (size_t row = 0; row < (size_t)quad_count * 4; row++)
                sum += counts[t * stride + row] * quads[(row / 4 * DS2TA_TILE + (size_t)c) * 4 + row % 4];
            sums[t * DS2TA_TILE + (size_t)c] = sum;
        }
}

static void convolve(const int16_t *weight, const int32_t *at, int pairs, const int16_t *const seen[DS2TA_COLUMNS], int channels, int32_t *sums) {
    memset(sums, 0, DS2TA_COLUMNS * DS2TA_TILE * sizeof *sums);
    for (int k = 0; k < DS2TA_COLUMNS; k++, sums += DS2TA_TILE) {
        const int16_t *both = weight;
        for (int i = 0; i < pairs; i++, both += 2 * DS2TA_TILE) {
            const int16_t *two = seen[k] + at[i];
            if (!two[0] && !two[1]) continue;
            for (int c = 0; c < channels; c++) {
                sums[c] += two[0] * both[2 * c];
                sums[c] += two[1] * both[2 * c + 1];
            }
        }
    }
}

static void multiply(const int32_t *weight, const uint16_t *rows, const int32_t *values, int count, int32_t *product) {
    for (int i = 0; i < count; i++)
        for (size_t c = 0; c < DS2TA_TILE; c++) product[c] += values[i] * weight[(size_t)rows[i] * DS2TA_TILE + c];
}

/* A ripple adder: a byte holds one bit of the count for every step of a group. */
static void add(const uint8_t *one, int one_planes, const uint8_t *other, int other_planes, uint8_t *sum, int planes, size_t stride,
                size_t size) {
    for (size_t at = 0; at < size; at++) {
        unsigned carry = 0;
        for (int k = 0; k < planes; k++) {
            unsigned a = k < one_planes ? one[(size_t)k * stride + at] : 0, b = k < other_planes ? other[(size_t)k * stride + at] : 0;
            sum[(size_t)k * stride + at] = (uint8_t)(a ^ b ^ carry);
            carry = (a & b) | ((a ^ b) & carry);
        }
    }
}

static void unite(const uint8_t *patterns, int rows, size_t row_stride, int columns, size_t size, uint8_t *out) {
    memset(out, 0, size);
    for (int y = 0; y < rows; y++, patterns += row_stride)
        for (int x = 0; x < columns; x++)
            for (size_t c = 0; c < size; c++) out[c] |= patterns[(size_t)x * size + c];
}

static void tally(const uint8_t *patterns, int tokens, int channels, int shift, int32_t *counts) {
    for (size_t i = 0; i < (size_t)tokens * (size_t)channels; i++)
        counts[i % (size_t)channels] += __builtin_popcount(patterns[i]) * (1 << shift);
}

/* Shifts are arithmetic: every compiler that this library is built with floors. Left shifts go through unsigned numbers. */
static int32_t left(int32_t value, int bits) { return (int32_t)((uint32_t)value << bits); }

int32_t ds2ta_fire_one(const ds2ta_neuron *neuron, const int32_t *product, int stride, int32_t bias, int32_t threshold, const int32_t *state,
                       int32_t *current, int32_t *membrane, uint8_t *spikes) {
    int past = neuron->taps - 1;
    int32_t carried = state ? state[past * DS2TA_TILE] : 0;
    for (int t = 0; t < neuron->steps; t++) {
        current[t] = left(bias, neuron->guard_bits);
        for (int m = 0; m < neuron->taps && (state || m <= t); m++) {
            int shift = neuron->decay * m < 31 ? neuron->decay * m : 31;
            int32_t seen = m <= t ? product[(size_t)(t - m) * (size_t)stride] : state[(past + t - m) * DS2TA_TILE];
            current[t] += left(seen, neuron->guard_bits) >> shift;
        }
        membrane[t] = carried + current[t];
        spikes[t] = membrane[t] >= threshold;
        carried = spikes[t] ? 0 : (membrane[t] * neuron->leak_numerator) >> neuron->leak_shift;
    }
    return carried;
}

/* What one channel remembers behind the steps: the last products, the oldest first, and what its membrane carries over. */
static void remember(const ds2ta_neuron *neuron, const int32_t *product, int stride, int32_t carried, int32_t *state) {
    int past = neuron->taps - 1;
    for (int k = 0; k < past; k++) {
        int at = neuron->steps + k;
        state[k * DS2TA_TILE] = at < past ? state[at * DS2TA_TILE] : product[(size_t)(at - past) * (size_t)stride];
    }
    state[past * DS2TA_TILE] = carried;
}

static void go_on(const ds2ta_neuron *neuron, const int32_t *product, int stride, const int32_t *bias, const int32_t *threshold,
                  int32_t *state, uint8_t *out, size_t group_stride) {
    int32_t current[DS2TA_MAX_STEPS], membrane[DS2TA_MAX_STEPS];
    uint8_t spikes[DS2TA_MAX_STEPS];
    for (int c = 0; c < DS2TA_TILE; c++) {
        int32_t *own = state ? state + c : NULL;
        int32_t carried = ds2ta_fire_one(neuron, product + c, stride, bias[c], threshold[c], own, current, membrane, spikes);
        if (own) remember(neuron, product + c, stride, carried, own);
        for (int t = 0; t < neuron->steps; t++) {
            uint8_t *pattern = out + (size_t)(t / DS2TA_GROUP) * group_stride + c;
            *pattern = (uint8_t)((t % DS2TA_GROUP ? *pattern : 0) | spikes[t] << t % DS2TA_GROUP);
        }
    }
}

static void fire(const ds2ta_neuron *neuron, const int32_t *product, int stride, const int32_t *bias, const int32_t *threshold,
                 uint8_t *out, size_t group_stride) {
    go_on(neuron, product, stride, bias, threshold, NULL, out, group_stride);
}

/* Eight bytes at a time: a multiplication brings their lowest bits together. */
void ds2ta_gather_plain(const uint8_t *patterns, int width, int step, uint64_t *words) {
    for (int c = 0; c < width; c++) {
        if (c % 64 == 0) words[c / 64] = 0;
        if (c % 8 == 0 && c + 8 <= width) {
            uint64_t eight = 0;
            for (int i = 0; i < 8; i++) eight |= (uint64_t)patterns[c + i] << 8 * i;
            words[c / 64] |= ((eight >> step & 0x0101010101010101u) * 0x0102040810204080u >> 56) << c % 64;
            c += 7;
        } else {
            words[c / 64] |= (uint64_t)(patterns[c] >> step & 1) << c % 64;
        }
    }
}

static void spread(const uint8_t *first, const uint8_t *second, int width, int step, int16_t *pairs) {
    for (int c = 0; c < width; c++) {
        pairs[2 * c] = (int16_t)(first[c] >> step & 1);
        pairs[2 * c + 1] = (int16_t)(second ? second[c] >> step & 1 : 0);
    }
}

static void look_up(const uint64_t *query, const uint8_t *keys, int bytes, int tokens, const int16_t *table, int entries, int16_t *map) {
    (void)entries;
    for (int j = 0; j < tokens; j++) {
        int score = 0;
        for (int b = 0; b < bytes; b++) score += __builtin_popcount((unsigned)(query[b / 8] >> 8 * (b % 8)) & keys[b * tokens + j]);
        map[j] = table[score];
    }
}

static void mix(const int16_t *map, size_t stride, const int16_t *values, int pairs, int width, int32_t *context) {
    for (int q = 0; q < DS2TA_QUERIES; q++)
        for (int c = 0; c < width; c++) {
            int32_t sum = 0;
            for (int j = 0; j < 2 * pairs; j++) sum += map[(size_t)q * stride + (size_t)j] * values[(j / 2 * width + c) * 2 + j % 2];
            context[q * width + c] = sum;
        }
}

const ds2ta_kernels ds2ta_kernels_scalar = {
    .name = "scalar",
    .costs = ds2ta_costs_scalar,
    .subsets = &ds2ta_subsets_plain,
    .abreast = &ds2ta_abreast_plain,
    .dense_planes = DS2TA_MAX_PLANES,
    .listed = listed,
    .sort = sort,
    .join = join,
    .rows = rows,
    .fire_rows = fire_rows,
    .count = count,
    .unpack = ds2ta_unpack_plain,
    .dense = ds2ta_dense_plain,
    .convolve = convolve,
    .multiply = multiply,
    .add = add,
    .unite = unite,
    .tally = tally,
    .fire = fire,
    .go_on = go_on,
    .gather = ds2ta_gather_plain,
    .spread = spread,
    .look_up = look_up,
    .mix = mix,
};
