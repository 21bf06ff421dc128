#include "abreast.h"
#include "memory.h"

#include <stdlib.h>
#include <string.h>

enum { WIDEST = DS2TA_ABREAST_ENTRIES - 1, MOST_TOKENS = 130, STRIDE = 130 };

/* What one set of kernels makes of a head, its queries being its first tokens and its keys all of them. Large enough for any. */
typedef struct {
    uint8_t planes[DS2TA_GROUP * 16 * 192], quads[DS2TA_GROUP * 132 * 128], map[DS2TA_SPAN * 132];
    int32_t sums[128 * DS2TA_SPAN];
    uint8_t turned[DS2TA_SPAN * STRIDE];
} made;

static void make(const ds2ta_abreast *kernels, const uint8_t *patterns, int tokens, int width, const uint8_t *table, made *to) {
    size_t bytes = (size_t)ds2ta_abreast_bytes(width), padded = (size_t)ds2ta_abreast_tokens(tokens);
    int channels = ds2ta_abreast_channels(width), quads = (tokens + 3) / 4, step = tokens % DS2TA_GROUP, span = tokens < DS2TA_SPAN ? tokens : DS2TA_SPAN;
    kernels->planes(patterns, STRIDE, tokens, width, to->planes);
    kernels->quads(patterns, STRIDE, tokens, width, to->quads);
    const uint8_t *seen = to->planes + (size_t)step * bytes * padded;
    kernels->look_up(seen, padded, seen, padded, (width + 7) / 8, quads, table, to->map);
    kernels->mix(to->map, to->quads + (size_t)step * (size_t)quads * (size_t)channels * 4, quads, channels, to->sums, DS2TA_SPAN);
    kernels->turn(to->quads, to->turned, STRIDE, span, width);
}

int compare_abreast(const ds2ta_abreast *kernels) {
    made *expected = aligned(sizeof *expected), *found = aligned(sizeof *found);
    uint8_t *table = aligned(DS2TA_ABREAST_ENTRIES), *end = before_a_wall(MOST_TOKENS * STRIDE) + MOST_TOKENS * STRIDE;
    int equal = 1;
    for (int i = 0; i < DS2TA_ABREAST_ENTRIES; i++) table[i] = (uint8_t)(255 - i * 37 % 256);
    for (int i = 1; i <= MOST_TOKENS * STRIDE; i++) end[-i] = (uint8_t)(i * 7919 % 4099 % DS2TA_PATTERNS);
    memset(end - 2 * STRIDE, DS2TA_PATTERNS - 1, 2 * STRIDE); /* the last token shares all bits with itself: the table's last entry */
    for (int tokens = 1; kernels && tokens <= MOST_TOKENS; tokens += tokens < 20 ? 1 : 11)
        for (int width = 1; width <= WIDEST; width += width % 16 < 2 || width % 16 > 14 ? 1 : 6) {
            memset(expected, 0, sizeof *expected), memset(found, 0, sizeof *found);
            /* the head's last channel in the last token is the last byte that there is */
            const uint8_t *patterns = end - (size_t)(tokens - 1) * STRIDE - (size_t)width;
            make(&ds2ta_abreast_plain, patterns, tokens, width, table, expected);
            make(kernels, patterns, tokens, width, table, found);
            equal &= !memcmp(expected, found, sizeof *expected);
        }
    free(expected), free(found), free(table), free_walled(end - MOST_TOKENS * STRIDE, MOST_TOKENS * STRIDE);
    return equal;
}
