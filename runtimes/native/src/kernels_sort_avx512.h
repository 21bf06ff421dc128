/* Sorting channels by their pattern, with 512-bit registers; a part of kernels_avx512.c. */

/* The first of so many bytes, and zeros where there are fewer than 64: what lies behind them is not read, a page may end there. */
static inline __m512i bytes_512(const uint8_t *bytes, int count) {
    if (count >= 64) return _mm512_loadu_si512(bytes);
    return _mm512_maskz_loadu_epi8(((__mmask64)1 << count) - 1, bytes);
}

/* A sort goes over what fires fifteen times: first, what does not is taken out. */
enum { MOST_SORTED = 4096 };

typedef struct {
    uint8_t patterns[MOST_SORTED + 64]; /* filled up with zeros */
    uint16_t channels[MOST_SORTED + 64];
    int count;
} firing_channels;

/* 0, 1, 2, ... */
static inline __m512i lanes_512(void) {
    uint8_t numbers[64];
    for (int i = 0; i < 64; i++) numbers[i] = (uint8_t)i;
    return _mm512_loadu_si512(numbers);
}

static inline __m512i early_words(__m512i bytes) { return _mm512_cvtepu8_epi16(_mm512_castsi512_si256(bytes)); }

static inline __m512i late_words(__m512i bytes) { return _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(bytes, 1)); }

static inline void take_firing(const uint8_t *patterns, int channels, int base, firing_channels *taken) {
    const __m512i lanes = lanes_512();
    int count = 0;
    for (int c = 0; c < channels; c += 64) {
        __m512i all = bytes_512(patterns + c, channels - c), first = _mm512_set1_epi16((short)(base + c));
        __mmask64 firing = _mm512_test_epi8_mask(all, all);
        __m512i numbers = _mm512_maskz_compress_epi8(firing, lanes);
        _mm512_storeu_si512(taken->patterns + count, _mm512_maskz_compress_epi8(firing, all));
        _mm512_storeu_si512(taken->channels + count, _mm512_add_epi16(early_words(numbers), first));
        int found = (int)__builtin_popcountll(firing);
        if (found > 32) _mm512_storeu_si512(taken->channels + count + 32, _mm512_add_epi16(late_words(numbers), first));
        count += found;
    }
    _mm512_storeu_si512(taken->patterns + count, _mm512_setzero_si512());
    taken->count = count;
}

/* How many registers there are differs from token to token: a loop of one length is one guess of the processor less in every class. */
static inline __attribute__((always_inline)) uint32_t sort_firing(const firing_channels *taken, int registers, int filler, uint16_t *list,
                                                                  uint32_t start[DS2TA_PATTERNS]) {
    const __m512i lanes = lanes_512();
    uint32_t position = 0;
    for (int i = 0; i < DS2TA_CLASSES; i++) {
        start[i] = position;
        const __m512i wanted = _mm512_set1_epi8((char)ds2ta_pattern_of(i));
        for (int r = 0; r < registers; r++) {
            __m512i early = _mm512_loadu_si512(taken->channels + 64 * r), late = _mm512_loadu_si512(taken->channels + 64 * r + 32);
            __mmask64 found = _mm512_cmpeq_epi8_mask(_mm512_loadu_si512(taken->patterns + 64 * r), wanted);
            __m512i places = _mm512_maskz_compress_epi8(found, lanes);
            uint32_t count = (uint32_t)__builtin_popcountll(found);
            _mm512_storeu_si512(list + position, _mm512_permutex2var_epi16(early, early_words(places), late));
            if (count > 32) _mm512_storeu_si512(list + position + 32, _mm512_permutex2var_epi16(early, late_words(places), late));
            position += count;
        }
        for (uint32_t k = 0; filler >= 0 && k < DS2TA_FILL; k++) list[position + k] = (uint16_t)filler;
        if (filler >= 0) position = (position + DS2TA_FILL - 1) / DS2TA_FILL * DS2TA_FILL;
    }
    return start[DS2TA_CLASSES] = position;
}

/* 64 channels at most, no class filled up: their places are put in order in a register, and channels looked up in the end. */
static inline void sort_few(const firing_channels *taken, uint16_t *list, uint32_t start[DS2TA_PATTERNS]) {
    const __m512i lanes = lanes_512(), patterns = _mm512_loadu_si512(taken->patterns);
    const __m512i early = _mm512_loadu_si512(taken->channels), late = _mm512_loadu_si512(taken->channels + 32);
    __m512i places = _mm512_setzero_si512();
    uint32_t position = 0; /* below 64 as long as something follows */
    for (int i = 0; i < DS2TA_CLASSES; i++) {
        __mmask64 found = _mm512_cmpeq_epi8_mask(patterns, _mm512_set1_epi8((char)ds2ta_pattern_of(i)));
        start[i] = position;
        __m512i here = _mm512_maskz_expand_epi8(~(__mmask64)0 << position % 64, _mm512_maskz_compress_epi8(found, lanes));
        places = _mm512_or_si512(places, here);
        position += (uint32_t)__builtin_popcountll(found);
    }
    start[DS2TA_CLASSES] = position;
    _mm512_storeu_si512(list, _mm512_permutex2var_epi16(early, early_words(places), late));
    _mm512_storeu_si512(list + 32, _mm512_permutex2var_epi16(early, late_words(places), late));
}

static void sort(const uint8_t *patterns, int channels, int base, int filler, uint16_t *list, uint32_t start[DS2TA_PATTERNS]);

static void sort_512(const uint8_t *patterns, int channels, int base, int filler, uint16_t *list, uint32_t start[DS2TA_PATTERNS]) {
    if (channels > MOST_SORTED) {
        sort(patterns, channels, base, filler, list, start);
        return;
    }
    firing_channels taken;
    take_firing(patterns, channels, base, &taken);
    int registers = (taken.count + 63) / 64;
    switch (registers) {
    case 0: memset(start, 0, DS2TA_PATTERNS * sizeof *start); break; /* as in the higher planes of counts */
    case 1:
        if (filler < 0) sort_few(&taken, list, start);
        else sort_firing(&taken, 1, filler, list, start);
        break;
    case 2: sort_firing(&taken, 2, filler, list, start); break;
    case 3: sort_firing(&taken, 3, filler, list, start); break;
    case 4: sort_firing(&taken, 4, filler, list, start); break;
    case 5: sort_firing(&taken, 5, filler, list, start); break;
    case 6: sort_firing(&taken, 6, filler, list, start); break;
    default: sort_firing(&taken, registers, filler, list, start);
    }
}
