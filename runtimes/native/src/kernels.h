/* The inner loops, once for each instruction set. kernels_scalar.c is their definition. */
#ifndef DS2TA_KERNELS_H
#define DS2TA_KERNELS_H

#include "ds2ta_native.h"

/* Patterns of DS2TA_GROUP steps; pattern 0 is silence and is never listed. */
#define DS2TA_PATTERNS (1 << DS2TA_GROUP)

/* Elements behind a list's end, and before a copy's source, that may be touched. */
#define DS2TA_SLACK 64

typedef struct {
    int32_t steps, taps, decay, guard_bits, leak_numerator, leak_shift;
} ds2ta_neuron;

/* A list that is part of a longer one: its rows are numbered from `offset`. */
typedef struct {
    const uint16_t *list;
    const uint32_t *start;
    uint16_t offset;
} ds2ta_part;

typedef struct {
    const char *name;

    /* Sorts channels by pattern: list[start[p] .. start[p + 1]) are base + the channels whose pattern is p, ascending. */
    void (*sort)(const uint8_t *patterns, int channels, int base, uint16_t *list, uint32_t start[DS2TA_PATTERNS + 1]);

    /* Joins lists: pattern after pattern, part after part. Returns the length. */
    uint32_t (*join)(const ds2ta_part *parts, int count, uint16_t *list, uint32_t start[DS2TA_PATTERNS + 1]);

    /* Adds, to sums[t][c] for every step t of a group, 2^shift times the weights [row][DS2TA_TILE] of all rows whose pattern
     * has bit t. `together` rows fit 8 bits when added; any set of listed rows fits 16. */
    void (*rows)(const int8_t *weight, int together, const uint16_t *list, const uint32_t start[DS2TA_PATTERNS + 1], int shift,
                 int32_t *sums);

    /* product[c] += value * weight[c] for DS2TA_TILE channels. */
    void (*scale_row)(const int32_t *weight, int32_t value, int32_t *product);

    /* Temporal window and neuron of DS2TA_TILE channels: product + t * stride is step t's product. Writes the patterns of
     * group g to out + g * group_stride. */
    void (*fire)(const ds2ta_neuron *neuron, const int32_t *product, int stride, const int32_t *bias, const int32_t *threshold,
                 uint8_t *out, size_t group_stride);

    /* One query token, one head, one step: map[j] = table[popcount(query & key of token j)], both of so many words. */
    void (*look_up)(const uint64_t *query, const uint64_t *keys, int words, int tokens, const int16_t *table, int16_t *map);

    /* context[c] = sum over tokens j of map[j] where values[j][c] is -1 (and not 0). width is a multiple of 16; no partial sum
     * leaves 16 bits. */
    void (*mix)(const int16_t *map, const int16_t *values, int tokens, int width, int16_t *context);
} ds2ta_kernels;

extern const ds2ta_kernels ds2ta_kernels_scalar;
#if defined(__x86_64__)
extern const ds2ta_kernels ds2ta_kernels_avx2;
extern const ds2ta_kernels ds2ta_kernels_avx512;
#elif defined(__aarch64__)
extern const ds2ta_kernels ds2ta_kernels_neon;
#endif

/* Returns the kernels of this name, the best ones for NULL, or NULL when they are not there or do not work here. */
const ds2ta_kernels *ds2ta_select_kernels(const char *name);

/* Temporal window and neuron, one channel at a time, with everything that happens inside: current[t], membrane[t]. */
void ds2ta_fire_one(const ds2ta_neuron *neuron, const int32_t *product, int stride, int32_t bias, int32_t threshold, int32_t *current,
                    int32_t *membrane, uint8_t *spikes);

#endif
