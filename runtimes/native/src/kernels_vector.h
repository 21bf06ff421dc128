/* The kernels in vectors. Included once for each instruction set, which says before how wide a register is (WIDTH, in bytes),
 * the table's name (DS2TA_NAME, DS2TA_KERNELS), its dense product (DS2TA_UNPACK, DS2TA_DENSE, DS2TA_DENSE_PLANES,
 * DS2TA_COSTS), its gathering of bits (DS2TA_GATHER), where it has them a faster sort and table (DS2TA_SORT, DS2TA_TABLE), a shorter
 * reset of neurons (DS2TA_RESET, DS2TA_RESET_WORDS), sums of subsets (DS2TA_SUBSETS) and attention of queries side by side
 * (DS2TA_ABREAST), and these functions:
 *
 *   void split_words(words value, longs *low, longs *high)           a register of words as two of longs
 *   void store_low_bytes(longs value, uint8_t *address)              the lowest byte of each long
 *   void store_bytes_of_words(words value, uint8_t *address)         the lowest byte of each word
 *   words add_saturated(words one, words other)                      sums, or what is nearest to them in 16 bits
 *   words smaller_words(words one, words other)                      the smaller one of each two words
 *   int has_lowest_word(words value)                                 whether any word is INT16_MIN
 *   unsigned_bytes ones_of(unsigned_bytes value)                     how many bits each byte has
 *   longs add_products(longs sum, words left, words right)           adds the products of each long's two words
 *
 * The compiler's own vectors do the rest. Its conversions between vectors are avoided: they take several instructions. */
#include "kernels.h"

#include <string.h>

/* Registers of a tile, by what they hold. */
enum { LONGS = 4 * DS2TA_TILE / WIDTH, BYTES = DS2TA_TILE / WIDTH };
/* Numbers in a register. */
enum { WORD_LANES = WIDTH / 2, LONG_LANES = WIDTH / 4 };

typedef uint16_t unsigned_words __attribute__((vector_size(WIDTH))); /* what may wrap */

#ifdef DS2TA_SUBSETS
#define DS2TA_HAS_SUBSETS 1
#else
#define DS2TA_SUBSETS NULL
#endif
#ifndef DS2TA_ABREAST
#define DS2TA_ABREAST NULL
#endif

#define LOAD(type, address) (*(const type *)(const void *)(address))
#ifndef DS2TA_ADD_WORDS
#define DS2TA_ADD_WORDS(sum, value) ((sum) += (value))
#endif
#define STORE(type, address, value) (*(type *)(void *)(address) = (value))

/* Fills a class up; overwrites what lies behind it. */
static inline uint32_t fill(uint16_t *list, uint32_t length, int filler) {
    if (filler < 0) return length;
    for (int i = 0; i < DS2TA_FILL; i++) list[length + (uint32_t)i] = (uint16_t)filler;
    return (length + DS2TA_FILL - 1) / DS2TA_FILL * DS2TA_FILL;
}

#ifndef DS2TA_SORT
#define DS2TA_SORT sort
#endif
static void sort(const uint8_t *patterns, int channels, int base, int filler, uint16_t *list, uint32_t start[DS2TA_PATTERNS]) {
    uint32_t position[DS2TA_PATTERNS] = {0}, next = 0;
    for (int c = 0; c < channels; c++) position[patterns[c]]++;
    for (int i = 0; i < DS2TA_CLASSES; i++) {
        uint32_t count = position[ds2ta_pattern_of(i)];
        start[i] = position[ds2ta_pattern_of(i)] = next;
        next = fill(list, next + count, filler);
    }
    start[DS2TA_CLASSES] = next;
    for (int c = 0; c < channels; c++)
        if (patterns[c]) list[position[patterns[c]]++] = (uint16_t)(base + c);
}

/* Rows that are copied at once. */
typedef uint16_t some_rows __attribute__((vector_size(32)));
enum { SOME_ROWS = 16 };

/* Copies more than there is: what lies behind a part's end is overwritten by the next one, or is slack. A part is seldom longer than
 * what is copied at once, and often empty: the first copy is made without asking. */
static uint32_t join(const ds2ta_part *parts, int count, int filler, uint16_t *list, uint32_t start[DS2TA_PATTERNS]) {
    uint32_t position = 0;
    for (int i = 0; i < DS2TA_CLASSES; i++) {
        start[i] = position;
        for (int p = 0; p < count; p++) {
            const uint16_t *from = parts[p].list + parts[p].start[i];
            uint32_t length = parts[p].start[i + 1] - parts[p].start[i], k = 0;
            do {
                some_rows row;
                memcpy(&row, from + k, sizeof row);
                row += parts[p].offset;
                memcpy(list + position + k, &row, sizeof row);
                k += SOME_ROWS;
            } while (k < length);
            position += length;
        }
        position = fill(list, position, filler);
    }
    return start[DS2TA_CLASSES] = position;
}

#include "kernels_bytes.h"
#include "kernels_neuron.h"
#include "kernels_rows.h"

/* Two values of all columns for every weight that is loaded; between the columns' sums nothing waits. */
static void convolve(const int16_t *weight, const int32_t *at, int pairs, const int16_t *const seen[DS2TA_COLUMNS], int channels, int32_t *sums) {
    for (int c = 0; c < DS2TA_TILE; c += LONG_LANES) {
        longs sum[DS2TA_COLUMNS];
        for (int k = 0; k < DS2TA_COLUMNS; k++) sum[k] = (longs){0};
        for (size_t i = 0, end = c < channels ? (size_t)pairs : 0; i < end; i++) {
            words own = LOAD(words, weight + (i * DS2TA_TILE + (size_t)c) * 2);
            for (int k = 0; k < DS2TA_COLUMNS; k++) {
                int32_t two;
                memcpy(&two, seen[k] + at[i], sizeof two);
                sum[k] = add_products(sum[k], (words)((longs){0} + two), own);
            }
        }
        for (int k = 0; k < DS2TA_COLUMNS; k++) STORE(longs, sums + k * DS2TA_TILE + c, sum[k]);
    }
}

static void multiply(const int32_t *weight, const uint16_t *rows, const int32_t *values, int count, int32_t *product) {
    longs sum[LONGS];
    for (int l = 0; l < LONGS; l++) sum[l] = LOAD(longs, product + l * LONG_LANES);
    for (int i = 0; i < count; i++) {
        const int32_t *row = weight + (size_t)rows[i] * DS2TA_TILE;
        for (int l = 0; l < LONGS; l++) sum[l] += LOAD(longs, row + l * LONG_LANES) * values[i];
    }
    for (int l = 0; l < LONGS; l++) STORE(longs, product + l * LONG_LANES, sum[l]);
}

#include "kernels_attention.h"

const ds2ta_kernels DS2TA_KERNELS = {
    .name = DS2TA_NAME,
    .costs = DS2TA_COSTS,
    .subsets = DS2TA_SUBSETS,
    .abreast = DS2TA_ABREAST,
    .dense_planes = DS2TA_DENSE_PLANES,
    .listed = listed,
    .sort = DS2TA_SORT,
    .join = join,
    .rows = rows,
    .fire_rows = fire_rows,
    .count = count,
    .unpack = DS2TA_UNPACK,
    .dense = DS2TA_DENSE,
    .convolve = convolve,
    .multiply = multiply,
    .add = add,
    .unite = unite,
    .tally = tally,
    .fire = fire,
    .go_on = go_on,
    .gather = DS2TA_GATHER,
    .spread = spread,
    .look_up = look_up,
    .mix = mix,
};
