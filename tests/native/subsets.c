#include "subsets.h"
#include "memory.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_PAIRS = 3, MOST_ROWS = MOST_PAIRS * DS2TA_PAIR * DS2TA_SET, STEPS = 2 * DS2TA_GROUP, STRIDE = STEPS * DS2TA_SPAN };

/* What one set of kernels makes of some rows: how the bits of a number are arranged is its own, sums are not. */
typedef struct {
    int32_t below[DS2TA_QUARTET], sums[DS2TA_QUARTET * STRIDE];
    uint8_t together[2 * DS2TA_TILE * DS2TA_SPAN], patterns[2 * DS2TA_TILE * DS2TA_SPAN], rows[DS2TA_SPAN * (DS2TA_TILE + 3)];
} made;

typedef struct {
    const uint8_t *rows[DS2TA_SPAN];
    const int8_t *quads;
    int pairs, channel, tokens;
    enum ds2ta_limb limb;
    ds2ta_neuron neuron;
} example;

static void make(const ds2ta_subsets *kernels, const example *of, made *to) {
    static const int32_t bias[DS2TA_QUARTET] = {-3, 0, 40, 7}, threshold[DS2TA_QUARTET] = {90, 1, 700, INT32_MAX};
    uint8_t *indices = aligned((MOST_PAIRS * DS2TA_PAIR + 1) * DS2TA_SET_BYTES), *tables = aligned(MOST_PAIRS * 8 * DS2TA_TABLE_BYTES);
    int32_t *sums = aligned(sizeof to->sums);
    uint8_t *patterns = aligned(sizeof to->patterns);
    kernels->index(of->rows, of->pairs * DS2TA_PAIR, indices);
    kernels->tabulate(of->quads, of->pairs, of->channel, of->limb, tables, to->below);
    const ds2ta_term terms[2] = {{tables, indices, of->pairs, 1}, {tables, indices, 1, 64}};
    for (size_t group = 0; group < STEPS / DS2TA_GROUP; group++)
        kernels->add(terms, (int)group + 1, to->below, sums + group * DS2TA_GROUP * DS2TA_SPAN, STRIDE);
    if (of->neuron.steps <= DS2TA_GROUP) /* two spans: the second has what is one set of rows further on */
        kernels->add_and_fire(terms, 1, to->below, &of->neuron, bias, threshold, of->pairs > 1 ? 2 : 1, DS2TA_SET_BYTES, to->together);
    for (size_t channel = 0; channel < DS2TA_TILE; channel += DS2TA_QUARTET)
        kernels->fire(&of->neuron, sums, STRIDE, bias, threshold, patterns + channel * DS2TA_SPAN, DS2TA_TILE * DS2TA_SPAN);
    kernels->turn(patterns, to->rows, DS2TA_TILE + 3, of->tokens);
    memcpy(to->sums, sums, sizeof to->sums), memcpy(to->patterns, patterns, sizeof to->patterns);
    free(indices), free(tables), free(sums), free(patterns);
}

/* The sums of what a table is made of, from the weights and the patterns themselves: what all kernels must give. */
static int is_right(const example *of, const made *found) {
    int right = 1;
    for (int output = 0; output < DS2TA_QUARTET; output++)
        for (int place = 0; place < DS2TA_GROUP * DS2TA_SPAN; place++) {
            int32_t sum = 2 * found->below[output];
            for (int row = 0; row < of->pairs * DS2TA_PAIR * DS2TA_SET; row++) {
                int weight = of->quads[(row / 4 * DS2TA_TILE + of->channel + output) * 4 + row % 4];
                if (of->limb != DS2TA_WHOLE) weight = of->limb == DS2TA_LOW ? weight & 15 : weight >> 4;
                sum += of->rows[place % DS2TA_SPAN][row] >> place / DS2TA_SPAN & 1 ? weight : 0;
            }
            right &= found->sums[output * STRIDE + place] == sum;
        }
    return right;
}

static int compare_example(const ds2ta_subsets *kernels, example *of) {
    made *expected = aligned(sizeof *expected), *found = aligned(sizeof *found);
    make(&ds2ta_subsets_plain, of, expected);
    make(kernels, of, found);
    int equal = !memcmp(expected, found, sizeof *expected) && is_right(of, found);
    free(expected), free(found);
    return equal;
}

int compare_subsets(const ds2ta_subsets *kernels) {
    int8_t *quads = aligned(MOST_ROWS * DS2TA_TILE);
    uint8_t *patterns[DS2TA_SPAN];
    int equal = 1;
    for (int n = 0; n < DS2TA_SPAN; n++) patterns[n] = before_a_wall(MOST_ROWS);
    for (int i = 0; kernels && i < 120; i++) {
        example of = {.pairs = 1 + i % MOST_PAIRS, .channel = i * 4 % DS2TA_TILE, .tokens = 1 + i % DS2TA_SPAN, .limb = (enum ds2ta_limb)(i % 5 % 3)};
        of.quads = quads;
        of.neuron = (ds2ta_neuron){1 + i % STEPS, 1 + i / 3 % 5, i % 3, i % 2 * 3, 1 + i % 4, 1 + i % 3};
        for (int n = 0; n < DS2TA_SPAN; n++) of.rows[n] = patterns[n] + MOST_ROWS - of.pairs * DS2TA_PAIR * DS2TA_SET;
        for (int n = 0; n < DS2TA_SPAN * MOST_ROWS; n++) /* all silent, all firing, and between */
            patterns[n % DS2TA_SPAN][n / DS2TA_SPAN] = (uint8_t)(i % 7 == 0 ? 0 : i % 7 == 1 ? 15 : (n + i) * 7919 % 4099 % DS2TA_PATTERNS);
        int most = of.limb == DS2TA_WHOLE ? 31 : 127;
        for (int k = 0; k < MOST_ROWS * DS2TA_TILE; k++) /* the largest, the smallest, and between */
            quads[k] = (int8_t)(i % 11 == 0 ? most : i % 11 == 1 ? -most : (k + i) * 7907 % 4093 % (2 * most + 1) - most);
        equal &= compare_example(kernels, &of);
    }
    for (int n = 0; n < DS2TA_SPAN; n++) free_walled(patterns[n], MOST_ROWS);
    free(quads);
    return equal;
}
