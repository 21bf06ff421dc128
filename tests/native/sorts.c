#include "sorts.h"

#include "kernels.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_SORTED = 5000 };

/* Memory ends where the patterns do: a sort that reads on is seen by the address sanitizer. */
static int sort_equal(const ds2ta_kernels *kernels, int channels, size_t *listed) {
    const ds2ta_kernels *plain = ds2ta_select_kernels("scalar");
    uint8_t *patterns = malloc((size_t)channels);
    uint16_t lists[2][MOST_SORTED + DS2TA_CLASSES * DS2TA_FILL + DS2TA_SLACK];
    uint32_t starts[2][DS2TA_PATTERNS];
    int equal = patterns != NULL;
    for (int c = 0; equal && c < channels; c++) patterns[c] = (uint8_t)(c * 7919 % 31 < channels % 31 ? c * 31 % DS2TA_PATTERNS : 0);
    for (int filler = -1; equal && filler <= channels; filler += channels + 1) {
        plain->sort(patterns, channels, 5, filler, lists[0], starts[0]);
        kernels->sort(patterns, channels, 5, filler, lists[1], starts[1]);
        equal = !memcmp(starts[0], starts[1], sizeof starts[0]) && !memcmp(lists[0], lists[1], starts[0][DS2TA_CLASSES] * sizeof lists[0][0]);
        *listed += starts[0][DS2TA_CLASSES];
    }
    free(patterns);
    return equal;
}

int sorts_equal(const char *isa, size_t *listed) {
    for (int channels = 1; channels <= MOST_SORTED; channels += channels < 200 ? 1 : 171)
        if (!sort_equal(ds2ta_select_kernels(isa), channels, listed)) return 0;
    return 1;
}
