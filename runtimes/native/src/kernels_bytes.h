/* Patterns as bytes: counted, added, taken apart; part of kernels_vector.h. */

static size_t listed(const uint8_t *patterns, size_t size) {
    size_t count = 0;
    for (size_t i = 0; i < size; i += DS2TA_TILE) { /* a multiple of it */
        uint8_t few = 0;
        for (size_t c = 0; c < DS2TA_TILE; c++) few = (uint8_t)(few + (patterns[i + c] ? 1 : 0));
        count += few;
    }
    return count;
}

static void count(const uint8_t *patterns, size_t plane_stride, int planes, int channels, uint8_t *counts, size_t stride) {
    const unsigned_bytes ones = (unsigned_bytes){0} + 1;
    for (size_t c = 0; c < (size_t)channels; c += WIDTH)
        for (int t = 0; t < DS2TA_GROUP; t++) {
            unsigned_words sum = {0};
            for (int k = 0; k < planes; k++)
                sum |= (LOAD(unsigned_words, patterns + (size_t)k * plane_stride + c) >> t & (unsigned_words)ones) << k;
            memcpy(counts + (size_t)t * stride + c, &sum, sizeof sum);
        }
}

static void add(const uint8_t *one, int one_planes, const uint8_t *other, int other_planes, uint8_t *sum, int planes, size_t stride,
                size_t size) {
    for (size_t at = 0; at < size; at += WIDTH) {
        unsigned_bytes carry = {0};
        for (int k = 0; k < planes; k++) {
            unsigned_bytes zero = {0}, a = zero, b = zero;
            if (k < one_planes) a = LOAD(unsigned_bytes, one + (size_t)k * stride + at);
            if (k < other_planes) b = LOAD(unsigned_bytes, other + (size_t)k * stride + at);
            STORE(unsigned_bytes, sum + (size_t)k * stride + at, a ^ b ^ carry);
            carry = (a & b) | ((a ^ b) & carry);
        }
    }
}

static void unite(const uint8_t *patterns, int rows, size_t row_stride, int columns, size_t size, uint8_t *out) {
    for (size_t at = 0; at < size; at += WIDTH) {
        unsigned_bytes any = {0};
        for (size_t y = 0; y < (size_t)rows; y++)
            for (size_t x = 0; x < (size_t)columns; x++) any |= LOAD(unsigned_bytes, patterns + y * row_stride + x * size + at);
        STORE(unsigned_bytes, out + at, any);
    }
}

/* A byte takes the spikes of so many patterns. */
enum { BYTES_FULL = 255 / DS2TA_GROUP };

static void tally(const uint8_t *patterns, int tokens, int channels, int shift, int32_t *counts) {
    for (int first = 0; first < tokens; first += BYTES_FULL) {
        int end = tokens - first < BYTES_FULL ? tokens : first + BYTES_FULL;
        for (int c = 0; c < channels; c += WIDTH) {
            unsigned_bytes sum = {0};
            uint8_t sums[WIDTH];
            for (int token = first; token < end; token++) sum += ones_of(LOAD(unsigned_bytes, patterns + (size_t)token * (size_t)channels + (size_t)c));
            memcpy(sums, &sum, sizeof sums);
            for (int i = 0; i < WIDTH; i++) counts[c + i] += sums[i] * (1 << shift);
        }
    }
}

