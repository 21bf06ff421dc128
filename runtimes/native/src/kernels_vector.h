/* The kernels in vectors. Included once for each instruction set, which says before how wide a register is (WIDTH, in bytes),
 * the table's name (DS2TA_NAME, DS2TA_KERNELS), its sort (DS2TA_SORT, where it has a faster one), and these four functions:
 *
 *   words widen(const int8_t *address)                    WIDTH / 2 bytes as words
 *   void split_bytes(bytes value, words *low, words *high)   a register of bytes as two of words
 *   void split_words(words value, longs *low, longs *high)   a register of words as two of longs
 *   void store_low_bytes(longs value, uint8_t *address)   the lowest byte of each long
 *
 * The compiler's own vectors do the rest. Its conversions between vectors are avoided: they take several instructions. */
#include "kernels.h"

#include <string.h>

/* Registers of a tile, by what they hold. */
enum { WORDS = 2 * DS2TA_TILE / WIDTH, LONGS = 4 * DS2TA_TILE / WIDTH, BYTES = DS2TA_TILE / WIDTH };
/* Numbers in a register. */
enum { WORD_LANES = WIDTH / 2, LONG_LANES = WIDTH / 4 };

typedef uint16_t indices __attribute__((vector_size(WIDTH))); /* of rows; what is copied from behind a part's end may wrap */

#define LOAD(type, address) (*(const type *)(const void *)(address))
#define STORE(type, address, value) (*(type *)(void *)(address) = (value))

#ifndef DS2TA_SORT
#define DS2TA_SORT sort
static void sort(const uint8_t *patterns, int channels, int base, uint16_t *list, uint32_t start[DS2TA_PATTERNS + 1]) {
    uint32_t position[DS2TA_PATTERNS] = {0};
    for (int c = 0; c < channels; c++) position[patterns[c]]++;
    uint32_t next = 0;
    for (int pattern = 1; pattern < DS2TA_PATTERNS; pattern++) {
        uint32_t count = position[pattern];
        start[pattern] = position[pattern] = next;
        next += count;
    }
    start[DS2TA_PATTERNS] = next;
    for (int c = 0; c < channels; c++)
        if (patterns[c]) list[position[patterns[c]]++] = (uint16_t)(base + c);
}
#endif

/* Copies whole registers: what lies behind a part's end is overwritten by the next one, or is slack. */
static uint32_t join(const ds2ta_part *parts, int count, uint16_t *list, uint32_t start[DS2TA_PATTERNS + 1]) {
    uint32_t position = 0;
    for (int pattern = 1; pattern < DS2TA_PATTERNS; pattern++) {
        start[pattern] = position;
        for (int i = 0; i < count; i++) {
            const uint16_t *from = parts[i].list + parts[i].start[pattern];
            uint32_t length = parts[i].start[pattern + 1] - parts[i].start[pattern];
            for (uint32_t k = 0; k < length; k += WORD_LANES) {
                indices row;
                memcpy(&row, from + k, sizeof row);
                row += parts[i].offset;
                memcpy(list + position + k, &row, sizeof row);
            }
            position += length;
        }
    }
    return start[DS2TA_PATTERNS] = position;
}

/* Sum of the listed rows. */
static inline void sum_single(const int8_t *weight, const uint16_t *list, uint32_t count, words *sum) {
    words total[WORDS];
    for (int w = 0; w < WORDS; w++) total[w] = (words){0};
    for (uint32_t i = 0; i < count; i++) {
        const int8_t *row = weight + (size_t)list[i] * DS2TA_TILE;
        for (int w = 0; w < WORDS; w++) total[w] += widen(row + w * WORD_LANES);
    }
    for (int w = 0; w < WORDS; w++) sum[w] = total[w];
}

/* The same for small weights: four rows are added in 8 bits before they are widened, or two. */
static inline void sum_together(const int8_t *weight, int together, const uint16_t *list, uint32_t count, words *sum) {
    words total[WORDS];
    for (int w = 0; w < WORDS; w++) total[w] = (words){0};
#define ROW(i) LOAD(bytes, weight + (size_t)list[i] * DS2TA_TILE + b * WIDTH)
    for (uint32_t i = 0; i < count;) {
        uint32_t taken = count - i >= 4 && together >= 4 ? 4 : count - i >= 2 ? 2 : 1;
        for (int b = 0; b < BYTES; b++) {
            bytes part = ROW(i);
            if (taken >= 2) part += ROW(i + 1);
            if (taken == 4) part += ROW(i + 2) + ROW(i + 3);
            words low, high;
            split_bytes(part, &low, &high);
            total[2 * b] += low;
            total[2 * b + 1] += high;
        }
        i += taken;
    }
#undef ROW
    for (int w = 0; w < WORDS; w++) sum[w] = total[w];
}

/* Adds 2^shift times a register of words to longs. */
static inline void accumulate(words value, int shift, int32_t *sums) {
    longs low, high;
    split_words(value, &low, &high);
    STORE(longs, sums, LOAD(longs, sums) + (low << shift));
    STORE(longs, sums + LONG_LANES, LOAD(longs, sums + LONG_LANES) + (high << shift));
}

/* Every listed row is added once, to the sum of its pattern; the steps' sums are sums of those. */
static void rows(const int8_t *weight, int together, const uint16_t *list, const uint32_t start[DS2TA_PATTERNS + 1], int shift,
                 int32_t *sums) {
    words sum[DS2TA_PATTERNS][WORDS];
    for (int pattern = 1; pattern < DS2TA_PATTERNS; pattern++) {
        uint32_t count = start[pattern + 1] - start[pattern];
        if (together >= 2)
            sum_together(weight, together, list + start[pattern], count, sum[pattern]);
        else
            sum_single(weight, list + start[pattern], count, sum[pattern]);
    }
    for (int w = 0; w < WORDS; w++) {
        /* Over the patterns that agree in the two early steps, and over those that agree in the two late ones. */
        words early[4], late[4];
        for (int i = 1; i < 4; i++) {
            early[i] = (sum[i][w] + sum[4 + i][w]) + (sum[8 + i][w] + sum[12 + i][w]);
            late[i] = (sum[4 * i][w] + sum[4 * i + 1][w]) + (sum[4 * i + 2][w] + sum[4 * i + 3][w]);
        }
        int32_t *to = sums + w * WORD_LANES;
        accumulate(early[1] + early[3], shift, to);
        accumulate(early[2] + early[3], shift, to + DS2TA_TILE);
        accumulate(late[1] + late[3], shift, to + 2 * DS2TA_TILE);
        accumulate(late[2] + late[3], shift, to + 3 * DS2TA_TILE);
    }
}

static void scale_row(const int32_t *weight, int32_t value, int32_t *product) {
    for (int l = 0; l < LONGS; l++) {
        int32_t *to = product + l * LONG_LANES;
        STORE(longs, to, LOAD(longs, to) + LOAD(longs, weight + l * LONG_LANES) * value);
    }
}

static void fire(const ds2ta_neuron *neuron, const int32_t *product, int stride, const int32_t *bias, const int32_t *threshold,
                 uint8_t *out, size_t group_stride) {
    for (int l = 0; l < LONGS; l++) {
        int first = l * LONG_LANES;
        longs constant = LOAD(longs, bias + first) << neuron->guard_bits, limit = LOAD(longs, threshold + first);
        longs carried = limit ^ limit, pattern = carried;
        for (int t = 0; t < neuron->steps; t++) {
            longs current = constant;
            for (int m = 0; m < neuron->taps && m <= t; m++) {
                int shift = neuron->decay * m < 31 ? neuron->decay * m : 31;
                current += (LOAD(longs, product + (size_t)(t - m) * (size_t)stride + first) << neuron->guard_bits) >> shift;
            }
            longs membrane = carried + current, fired = membrane >= limit;
            carried = ((membrane & ~fired) * neuron->leak_numerator) >> neuron->leak_shift;
            pattern |= (fired & 1) << t % DS2TA_GROUP;
            if (t % DS2TA_GROUP == DS2TA_GROUP - 1 || t + 1 == neuron->steps) {
                store_low_bytes(pattern, out + (size_t)(t / DS2TA_GROUP) * group_stride + first);
                pattern ^= pattern;
            }
        }
    }
}

static void look_up(const uint64_t *query, const uint64_t *keys, int count, int tokens, const int16_t *table, int16_t *map) {
    if (count == 1) {
        for (int j = 0; j < tokens; j++) map[j] = table[__builtin_popcountll(query[0] & keys[j])];
        return;
    }
    for (int j = 0; j < tokens; j++) {
        int score = 0;
        for (int w = 0; w < count; w++) score += __builtin_popcountll(query[w] & keys[j * count + w]);
        map[j] = table[score];
    }
}

static void mix(const int16_t *map, const int16_t *values, int tokens, int width, int16_t *context) {
    for (int c = 0; c < width; c += 16) {
        int16_t sum[16] __attribute__((aligned(32))) = {0};
        const int16_t *column = values + c;
        for (int j = 0; j < tokens; j++, column += width)
            for (int i = 0; i < 16; i++) sum[i] = (int16_t)(sum[i] + (map[j] & column[i]));
        memcpy(context + c, sum, sizeof sum);
    }
}

const ds2ta_kernels DS2TA_KERNELS = {DS2TA_NAME, DS2TA_SORT, join, rows, scale_row, fire, look_up, mix};
