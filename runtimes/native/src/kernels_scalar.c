/* The kernels as plain loops: what the faster ones must equal. */
#include "kernels.h"

#include <string.h>

static void sort(const uint8_t *patterns, int channels, int base, uint16_t *list, uint32_t start[DS2TA_PATTERNS + 1]) {
    uint32_t position = 0;
    for (int pattern = 1; pattern < DS2TA_PATTERNS; pattern++) {
        start[pattern] = position;
        for (int c = 0; c < channels; c++)
            if (patterns[c] == pattern) list[position++] = (uint16_t)(base + c);
    }
    start[DS2TA_PATTERNS] = position;
}

static uint32_t join(const ds2ta_part *parts, int count, uint16_t *list, uint32_t start[DS2TA_PATTERNS + 1]) {
    uint32_t position = 0;
    for (int pattern = 1; pattern < DS2TA_PATTERNS; pattern++) {
        start[pattern] = position;
        for (int i = 0; i < count; i++)
            for (uint32_t k = parts[i].start[pattern]; k < parts[i].start[pattern + 1]; k++)
                list[position++] = (uint16_t)(parts[i].list[k] + parts[i].offset);
    }
    return start[DS2TA_PATTERNS] = position;
}

static void rows(const int8_t *weight, int together, const uint16_t *list, const uint32_t start[DS2TA_PATTERNS + 1], int shift,
                 int32_t *sums) {
    (void)together;
    for (int pattern = 1; pattern < DS2TA_PATTERNS; pattern++)
        for (uint32_t i = start[pattern]; i < start[pattern + 1]; i++) {
            const int8_t *row = weight + (size_t)list[i] * DS2TA_TILE;
            for (int t = 0; t < DS2TA_GROUP; t++)
                if (pattern >> t & 1)
                    for (int c = 0; c < DS2TA_TILE; c++) sums[t * DS2TA_TILE + c] += row[c] * (1 << shift);
        }
}

static void scale_row(const int32_t *weight, int32_t value, int32_t *product) {
    for (int c = 0; c < DS2TA_TILE; c++) product[c] += value * weight[c];
}

/* Shifts are arithmetic: every compiler that this library is built with floors. Left shifts go through unsigned numbers. */
static int32_t left(int32_t value, int bits) { return (int32_t)((uint32_t)value << bits); }

void ds2ta_fire_one(const ds2ta_neuron *neuron, const int32_t *product, int stride, int32_t bias, int32_t threshold, int32_t *current,
                    int32_t *membrane, uint8_t *spikes) {
    int32_t carried = 0;
    for (int t = 0; t < neuron->steps; t++) {
        current[t] = left(bias, neuron->guard_bits);
        for (int m = 0; m < neuron->taps && m <= t; m++) {
            int shift = neuron->decay * m < 31 ? neuron->decay * m : 31;
            current[t] += left(product[(size_t)(t - m) * (size_t)stride], neuron->guard_bits) >> shift;
        }
        membrane[t] = carried + current[t];
        spikes[t] = membrane[t] >= threshold;
        carried = spikes[t] ? 0 : (membrane[t] * neuron->leak_numerator) >> neuron->leak_shift;
    }
}

static void fire(const ds2ta_neuron *neuron, const int32_t *product, int stride, const int32_t *bias, const int32_t *threshold,
                 uint8_t *out, size_t group_stride) {
    int32_t current[DS2TA_MAX_STEPS], membrane[DS2TA_MAX_STEPS];
    uint8_t spikes[DS2TA_MAX_STEPS];
    for (int c = 0; c < DS2TA_TILE; c++) {
        ds2ta_fire_one(neuron, product + c, stride, bias[c], threshold[c], current, membrane, spikes);
        for (int t = 0; t < neuron->steps; t++) {
            uint8_t *pattern = out + (size_t)(t / DS2TA_GROUP) * group_stride + c;
            *pattern = (uint8_t)((t % DS2TA_GROUP ? *pattern : 0) | spikes[t] << t % DS2TA_GROUP);
        }
    }
}

static void look_up(const uint64_t *query, const uint64_t *keys, int words, int tokens, const int16_t *table, int16_t *map) {
    for (int j = 0; j < tokens; j++) {
        int score = 0;
        for (int w = 0; w < words; w++) score += __builtin_popcountll(query[w] & keys[j * words + w]);
        map[j] = table[score];
    }
}

static void mix(const int16_t *map, const int16_t *values, int tokens, int width, int16_t *context) {
    memset(context, 0, (size_t)width * sizeof *context);
    for (int j = 0; j < tokens; j++)
        for (int c = 0; c < width; c++) context[c] = (int16_t)(context[c] + (map[j] & values[(size_t)j * (size_t)width + (size_t)c]));
}

const ds2ta_kernels ds2ta_kernels_scalar = {"scalar", sort, join, rows, scale_row, fire, look_up, mix};
