/* The inner loops, once for each instruction set. kernels_scalar.c is their definition. */
#ifndef DS2TA_KERNELS_H
#define DS2TA_KERNELS_H

#include "ds2ta_native.h"

/* Patterns of DS2TA_GROUP steps; pattern 0 is silence and is never listed. */
#define DS2TA_PATTERNS (1 << DS2TA_GROUP)

/* Lists are sorted in classes, one for each pattern, in the order of Gray's code: from one class to the next a single step begins
 * or ends, so that what a step adds up is a sum of differences of one running total. Class i has the pattern that this returns. */
#define DS2TA_CLASSES (DS2TA_PATTERNS - 1)
static inline int ds2ta_pattern_of(int index) { return (index + 1) ^ (index + 1) >> 1; }

/* The step that begins or ends where class i ends, and whether it ends. */
static inline int ds2ta_step_changed(int i) { return i == DS2TA_CLASSES - 1 ? DS2TA_GROUP - 1 : __builtin_ctz((unsigned)i + 2); }
static inline int ds2ta_step_ends(int i) { return ds2ta_pattern_of(i) >> ds2ta_step_changed(i) & 1; }

/* Classes of a filled list are so many rows, or twice, or three times, … so many; a row of zeros fills them up. */
#define DS2TA_FILL 4

/* Elements behind a list's end, and before a copy's source, that may be touched. */
#define DS2TA_SLACK 64

/* Tiles whose rows lie side by side. */
#define DS2TA_PANEL 2

/* Weights of one or two tiles of output channels: [row][tile][DS2TA_TILE]. In a tile's row, byte 2i is channel i plus `bias`, byte
 * 2i + 1 is channel i + DS2TA_TILE / 2: a word of both can be added as it is, and no carry gets from one into the other. The bias,
 * 128 / together, makes the low byte of the sum of `together` rows one of no sign, and all of them fit 8 bits. */
typedef struct {
    const uint8_t *rows;
    int width;    /* tiles: 1 or DS2TA_PANEL */
    int together; /* 1 or DS2TA_FILL */
} ds2ta_panel;

static inline int ds2ta_bias(const ds2ta_panel *panel) { return 128 / panel->together; }

static inline int32_t ds2ta_weight(const ds2ta_panel *panel, size_t row, int tile, int channel) {
    const uint8_t *pair = panel->rows + (row * (size_t)panel->width + (size_t)tile) * DS2TA_TILE + channel % (DS2TA_TILE / 2) * 2;
    return channel < DS2TA_TILE / 2 ? pair[0] - ds2ta_bias(panel) : (int8_t)pair[1];
}

/* Query tokens whose maps are mixed at once. */
#define DS2TA_QUERIES 4

/* Columns of what an encoder sees, each of one pixel at one time step, that are convolved at once. */
#define DS2TA_COLUMNS 8

typedef struct {
    int32_t steps, taps, decay, guard_bits, leak_numerator, leak_shift;
} ds2ta_neuron;

/* A list that is part of a longer one: its rows are numbered from `offset`. */
typedef struct {
    const uint16_t *list;
    const uint32_t *start;
    uint16_t offset;
} ds2ta_part;

/* A filled list. What is summed up to its last row is then multiplied by 2^shift. */
typedef struct {
    const uint16_t *list;
    const uint32_t *start;
    int shift;
} ds2ta_listed;

/* Sums of subsets: the sums that any subset of four rows' weights can have are a table of 16 bytes, and the spikes of four channels at one
 * step are the subset's number. Of tokens so many are looked up at once, of rows so many have their numbers in one word of 32 bits, two
 * such sets are added before they are widened, and tables are made for so many output channels at once. */
enum { DS2TA_SPAN = 16, DS2TA_SET = 16, DS2TA_PAIR = 2, DS2TA_QUARTET = 4 };
#define DS2TA_SET_BYTES (DS2TA_GROUP * DS2TA_SPAN * 4)   /* of a set's numbers [step][token][four rows] */
#define DS2TA_TABLE_BYTES 64                             /* of a set's tables [four rows][subset] */

/* What of a weight a table is made of: all of it, where two sets' sums fit a byte, or its low four bits, or what is above them. */
enum ds2ta_limb { DS2TA_WHOLE, DS2TA_LOW, DS2TA_HIGH };

/* What is looked up for one plane of counts and one part of the weights, and what its sums are multiplied by. */
typedef struct {
    const uint8_t *tables, *indices;
    int pairs, multiplier;
} ds2ta_term;

typedef struct {
    /* Numbers of the subsets that fire: indices[set][step][token][four], from so many sets of channels of each token's patterns. */
    void (*index)(const uint8_t *const rows[DS2TA_SPAN], int sets, uint8_t *indices);

    /* tables[pair][output][set of the pair][four][subset]: the subset's sum, and what makes the smallest of a table's sums 0, for four
     * output channels from `channel` on, and in below[output] what that is of all its tables together. A pair is 8 quads of `quads`. */
    void (*tabulate)(const int8_t *quads, int pairs, int channel, enum ds2ta_limb limb, uint8_t *tables, int32_t below[DS2TA_QUARTET]);

    /* sums[output * stride + step * DS2TA_SPAN + token] = begin[output] + all terms' numbers, for the four steps of a group. */
    void (*add)(const ds2ta_term *terms, int count, const int32_t *begin, int32_t *sums, size_t stride);

    /* Temporal window and neuron of four channels, for all steps and DS2TA_SPAN tokens: writes the patterns of group g to
     * out[g * group_stride + output * DS2TA_SPAN + token]. */
    void (*fire)(const ds2ta_neuron *neuron, const int32_t *sums, size_t stride, const int32_t *bias, const int32_t *threshold, uint8_t *out,
                 size_t group_stride);

    /* Both of it for so many spans, of steps that are a group at most: a term's indices are those of the first span, span_bytes apart, and
     * patterns lie DS2TA_TILE * DS2TA_SPAN apart. */
    void (*add_and_fire)(const ds2ta_term *terms, int count, const int32_t *begin, const ds2ta_neuron *neuron, const int32_t *bias,
                         const int32_t *threshold, int spans, size_t span_bytes, uint8_t *out);

    /* out[token * stride + channel] = patterns[channel * DS2TA_SPAN + token], for DS2TA_TILE channels of the first `tokens`. */
    void (*turn)(const uint8_t *patterns, uint8_t *out, size_t stride, int tokens);
} ds2ta_subsets;

extern const ds2ta_subsets ds2ta_subsets_plain;
#if defined(__x86_64__)
extern const ds2ta_subsets ds2ta_subsets_512;
#endif

/* Attention of queries side by side: DS2TA_SPAN of them at once, for heads of so few channels that a table of
 * DS2TA_ABREAST_ENTRIES bytes has an entry for every score. */
enum { DS2TA_ABREAST_ENTRIES = 128, DS2TA_ABREAST_BYTES = DS2TA_ABREAST_ENTRIES / 8 };

/* What a head's channels take as bits and as numbers, and its tokens as bits. */
static inline int ds2ta_abreast_bytes(int width) { return (width + 31) / 32 * 4; }
static inline int ds2ta_abreast_channels(int width) { return (width + 15) / 16 * 16; }
static inline int ds2ta_abreast_tokens(int tokens) { return (tokens + 63) / 64 * 64; }

typedef struct {
    /* Bits of `width` channels of tokens `stride` bytes apart, for the four steps of a group: planes[step][byte][token], bit 7 - i of byte
     * b being channel 8 b + i. What fills bytes and tokens up, to ds2ta_abreast_bytes and ds2ta_abreast_tokens of them, is 0. */
    void (*planes)(const uint8_t *patterns, size_t stride, int tokens, int width, uint8_t *planes);

    /* The same as numbers: quads[step][token / 4][channel][token % 4], filled up with zeros to ds2ta_abreast_channels and whole quads. */
    void (*quads)(const uint8_t *patterns, size_t stride, int tokens, int width, uint8_t *quads);

    /* One step: map[quad][query][key of four] = table[bits that the query and the key share], for DS2TA_SPAN queries and so many quads of
     * keys. Bytes of queries and keys are so many apart. */
    void (*look_up)(const uint8_t *queries, size_t query_stride, const uint8_t *keys, size_t key_stride, int bytes, int quads,
                    const uint8_t *table, uint8_t *map);

    /* sums[channel * stride + query] = sum over keys of map[quad][query][key of four] * quads[quad][channel][key of four] of `count` quads;
     * channels is a multiple of 16. */
    void (*mix)(const uint8_t *map, const uint8_t *quads, int count, int channels, int32_t *sums, size_t stride);

    /* out[token * stride + channel] = patterns[channel * DS2TA_SPAN + token], for `width` channels of the first `tokens`; there are
     * patterns of ds2ta_abreast_channels. */
    void (*turn)(const uint8_t *patterns, uint8_t *out, size_t stride, int tokens, int width);
} ds2ta_abreast;

extern const ds2ta_abreast ds2ta_abreast_plain;
#if defined(__x86_64__)
extern const ds2ta_abreast ds2ta_abreast_512;
#endif

/* What the ways to a layer's sums take, in sixteenths of the time in which one listed row of a tile of 8-bit weights is added that lies in
 * the first-level cache. */
typedef struct {
    int row[2][2];        /* a listed row: [lies further away][may be added in 8 bits] */
    int list;             /* a list, once a tile, beside its rows; */
    int sort, sorted_row; /* sorting it, beside the rows that it is chosen from, and each of those; */
    int join;             /* joining it from the lists of a token's planes; */
    int stacks;           /* for a convolution sorting stacks and joining them */
    int dense;            /* a row of the dense product */
    int lookup;           /* sums of subsets: a row that is looked up; 0 where only a test asks for it, */
    int table, token;     /* a row's tables, and a token beside its rows */
} ds2ta_costs;

typedef struct {
    const char *name;

    /* What the ways take here. */
    const ds2ta_costs *(*costs)(void);

    /* Sums of subsets, or NULL. */
    const ds2ta_subsets *subsets;

    /* Attention of queries side by side, or NULL; where it is, there are subsets, whose neurons it fires. */
    const ds2ta_abreast *abreast;

    /* How many counts' bits the dense product takes. */
    int dense_planes;

    /* How many bytes are not 0. */
    size_t (*listed)(const uint8_t *patterns, size_t size);

    /* Sorts channels by pattern: list[start[i] .. start[i + 1]) are base + the channels of class i, ascending. Every class is filled
     * up with `filler`, or none is when that is negative. */
    void (*sort)(const uint8_t *patterns, int channels, int base, int filler, uint16_t *list, uint32_t start[DS2TA_PATTERNS]);

    /* Joins lists that are not filled to one that is: class after class, part after part. Returns the length. */
    uint32_t (*join)(const ds2ta_part *parts, int count, int filler, uint16_t *list, uint32_t start[DS2TA_PATTERNS]);

    /* Sums 2^shift times the weights of all rows of a filled list whose pattern has bit t, for every step t of a group: to
     * sums[tile * stride + t * DS2TA_TILE + channel], which are added to, or are written first where they are `fresh`. Any set of
     * listed rows fits 16 bits when added. */
    void (*rows)(const ds2ta_panel *panel, const uint16_t *list, const uint32_t start[DS2TA_PATTERNS], int shift, int fresh, int32_t *sums,
                 size_t stride);

    /* Rows and neurons at once, of one token and of all steps, which are a group at most: adds the rows of all lists, fires, and writes a
     * panel's patterns. There is no window, leak_numerator is 1, and no current leaves 16 bits. Returns 0 where a membrane may have done
     * so below zero: what was written is wrong then. */
    int (*fire_rows)(const ds2ta_panel *panel, const ds2ta_listed *lists, int count, const ds2ta_neuron *neuron, const int16_t *bias,
                      const int16_t *threshold, uint8_t *out);

    /* counts[t * stride + c] = the count of channel c at step t of a group, plane k being patterns + k * plane_stride. channels is a
     * multiple of DS2TA_TILE. */
    void (*count)(const uint8_t *patterns, size_t plane_stride, int planes, int channels, uint8_t *counts, size_t stride);

    /* One tile's weights for the dense product: quads[i][channel][j] is row 4 i + j. */
    void (*unpack)(const ds2ta_panel *panel, int tile, int quad_count, int8_t *quads);

    /* sums[t * DS2TA_TILE + channel] = sum of counts[t * stride + row] * weight over all rows, for every step t of a group. */
    void (*dense)(const int8_t *quads, int quad_count, const uint8_t *counts, size_t stride, int32_t *sums);

    /* sums[k * DS2TA_TILE + c] = sum over pairs i of values seen[k][at[i]] and seen[k][at[i] + 1] times weight[i][c][0] and weight[i][c][1],
     * for DS2TA_COLUMNS columns k and a tile of channels c, whose weights are 0 from `channels` on. */
    void (*convolve)(const int16_t *weight, const int32_t *at, int pairs, const int16_t *const seen[DS2TA_COLUMNS], int channels, int32_t *sums);

    /* product[c] += sum of values[i] * weight[rows[i]][c], for DS2TA_TILE channels. */
    void (*multiply)(const int32_t *weight, const uint16_t *rows, const int32_t *values, int count, int32_t *product);

    /* Sum of counts: planes of patterns, stride apart, `size` bytes of each, a multiple of DS2TA_TILE. A sum has as many planes as it
     * needs. */
    void (*add)(const uint8_t *one, int one_planes, const uint8_t *other, int other_planes, uint8_t *sum, int planes, size_t stride,
                size_t size);

    /* out = patterns of what fires in any of rows x columns tokens, rows of which are row_stride bytes apart: `size` bytes each, a multiple
     * of DS2TA_TILE. */
    void (*unite)(const uint8_t *patterns, int rows, size_t row_stride, int columns, size_t size, uint8_t *out);

    /* counts[c] += 2^shift times the spikes of channel c in all tokens' patterns, so many bytes apart. */
    void (*tally)(const uint8_t *patterns, int tokens, int channels, int shift, int32_t *counts);

    /* Temporal window and neuron of DS2TA_TILE channels: product + t * stride is step t's product. Writes the patterns of
     * group g to out + g * group_stride. */
    void (*fire)(const ds2ta_neuron *neuron, const int32_t *product, int stride, const int32_t *bias, const int32_t *threshold,
                 uint8_t *out, size_t group_stride);

    /* The same for steps that follow others: `state` is what the neurons remember, [taps][DS2TA_TILE], see ds2ta_state_size. */
    void (*go_on)(const ds2ta_neuron *neuron, const int32_t *product, int stride, const int32_t *bias, const int32_t *threshold,
                  int32_t *state, uint8_t *out, size_t group_stride);

    /* Bits `step` of `width` patterns, 64 to a word. */
    void (*gather)(const uint8_t *patterns, int width, int step, uint64_t *words);

    /* Bits `step` of two tokens' patterns, as numbers, beside each other: pairs[c][0] and pairs[c][1]. The second may be NULL: zeros. */
    void (*spread)(const uint8_t *first, const uint8_t *second, int width, int step, int16_t *pairs);

    /* One query token, one head, one step: map[j] = table[bits that the query and key j share]. Byte b of key j is
     * keys[b * tokens + j]; tokens is a multiple of DS2TA_TILE, and bytes is below 32, so that a score fits a byte. */
    void (*look_up)(const uint64_t *query, const uint8_t *keys, int bytes, int tokens, const int16_t *table, int entries, int16_t *map);

    /* DS2TA_QUERIES query tokens: context[q][c] = sum over pairs j of map[q][2j] * values[j][c][0] + map[q][2j + 1] * values[j][c][1].
     * width is a multiple of 32; maps are `stride` apart. */
    void (*mix)(const int16_t *map, size_t stride, const int16_t *values, int pairs, int width, int32_t *context);
} ds2ta_kernels;

extern const ds2ta_kernels ds2ta_kernels_scalar;
#if defined(__x86_64__)
extern const ds2ta_kernels ds2ta_kernels_avx2;
extern const ds2ta_kernels ds2ta_kernels_avx512;
#elif defined(__aarch64__)
extern const ds2ta_kernels ds2ta_kernels_neon;
#endif

/* The plain loops, for instruction sets that have nothing faster. */
void ds2ta_unpack_plain(const ds2ta_panel *panel, int tile, int quad_count, int8_t *quads);
void ds2ta_dense_plain(const int8_t *quads, int quad_count, const uint8_t *counts, size_t stride, int32_t *sums);

void ds2ta_gather_plain(const uint8_t *patterns, int width, int step, uint64_t *words);

/* costs.c: what the ways take with these kernels; with 512-bit registers for processors that take one at once, or in two halves. */
const ds2ta_costs *ds2ta_costs_scalar(void);
const ds2ta_costs *ds2ta_costs_avx2(void);
const ds2ta_costs *ds2ta_costs_neon(void);
const ds2ta_costs *ds2ta_costs_512(int halves);

/* Returns the kernels of this name, the best ones for NULL, or NULL when they are not there or do not work here. */
const ds2ta_kernels *ds2ta_select_kernels(const char *name);

/* Temporal window and neuron, one channel at a time, with everything that happens inside: current[t], membrane[t]. `state` is the
 * channel's part of what go_on is given, or NULL at the beginning. Returns what the membrane carries over. */
int32_t ds2ta_fire_one(const ds2ta_neuron *neuron, const int32_t *product, int stride, int32_t bias, int32_t threshold, const int32_t *state,
                       int32_t *current, int32_t *membrane, uint8_t *spikes);

#endif
