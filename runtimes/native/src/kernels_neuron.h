/* Temporal window and neuron in vectors; a part of kernels_vector.h. */

/* A tap's product, attenuated. */
static inline __attribute__((always_inline)) longs attenuated(const ds2ta_neuron *neuron, longs product, int lag) {
    return (product << neuron->guard_bits) >> (neuron->decay * lag < 31 ? neuron->decay * lag : 31);
}

#ifndef DS2TA_RESET
#define DS2TA_RESET reset
/* What a membrane is behind its threshold: 0 where it fires, and there the pattern gets the step's bit. */
static inline __attribute__((always_inline)) longs reset(longs membrane, longs limit, int bit, longs *pattern) {
    longs fired = membrane >= limit;
    *pattern |= fired & bit;
    return membrane & ~fired;
}
#endif

/* One register of neurons. `steps` and `taps` are the neuron's, or numbers that the compiler knows; `state` is NULL, as the compiler
 * knows, at the beginning. */
static inline __attribute__((always_inline)) void fire_register(const ds2ta_neuron *neuron, const int32_t *product, size_t stride, longs bias,
                                                                longs limit, int32_t *state, uint8_t *out, size_t group_stride, int steps,
                                                                int taps) {
    const longs zero = {0};
    const int past = taps - 1, numerator = neuron->leak_numerator; /* read once: what is written could lie where it is */
    const int guard = neuron->guard_bits, leak = neuron->leak_shift;
    longs decay[4]; /* later taps are seldom: they are computed where they are needed */
    for (int m = 0; m < 4; m++) decay[m] = zero + (neuron->decay * m < 31 ? neuron->decay * m : 31);
    longs constant = bias << guard, carried = state ? LOAD(longs, state + past * DS2TA_TILE) : zero, pattern = zero, seen[4];
    for (int t = 0; t < steps; t++) {
        longs current = constant, now = LOAD(longs, product + (size_t)t * stride) << guard;
        if (taps > 1) seen[t % 4] = now;
        current += now;
        for (int m = 1; m < taps && m <= t; m++)
            current += m < 4 ? seen[(t - m) % 4] >> decay[m] : attenuated(neuron, LOAD(longs, product + (size_t)(t - m) * stride), m);
        for (int m = t + 1; state && m < taps; m++) current += attenuated(neuron, LOAD(longs, state + (past + t - m) * DS2TA_TILE), m);
        carried = DS2TA_RESET(carried + current, limit, 1 << t % DS2TA_GROUP, &pattern);
        if (numerator != 1) carried *= numerator;
        carried >>= leak;
        if (t % DS2TA_GROUP == DS2TA_GROUP - 1 || t + 1 == steps) {
            store_low_bytes(pattern, out + (size_t)(t / DS2TA_GROUP) * group_stride);
            pattern = zero;
        }
    }
    for (int k = 0; state && k < past; k++) {
        const int32_t *from = steps + k < past ? state + (steps + k) * DS2TA_TILE : product + (size_t)(steps + k - past) * stride;
        STORE(longs, state + k * DS2TA_TILE, LOAD(longs, from));
    }
    if (state) STORE(longs, state + past * DS2TA_TILE, carried);
}

/* A tile of channels. */
static inline __attribute__((always_inline)) void fire_of(const ds2ta_neuron *neuron, const int32_t *product, size_t stride, const int32_t *bias,
                                                          const int32_t *threshold, int32_t *state, uint8_t *out, size_t group_stride, int steps,
                                                          int taps) {
    for (int first = 0; first < DS2TA_TILE; first += LONG_LANES)
        fire_register(neuron, product + first, stride, LOAD(longs, bias + first), LOAD(longs, threshold + first), state ? state + first : NULL,
                      out + first, group_stride, steps, taps);
}

#define FIRE(state, steps, taps) fire_of(neuron, product, (size_t)stride, bias, threshold, state, out, group_stride, steps, taps)

static void fire(const ds2ta_neuron *neuron, const int32_t *product, int stride, const int32_t *bias, const int32_t *threshold,
                 uint8_t *out, size_t group_stride) {
    int taps = neuron->taps < neuron->steps ? neuron->taps : neuron->steps;
    switch (neuron->steps == 4 ? taps : 0) {
    case 1: FIRE(NULL, 4, 1); break;
    case 2: FIRE(NULL, 4, 2); break;
    case 3: FIRE(NULL, 4, 3); break;
    case 4: FIRE(NULL, 4, 4); break;
    default: FIRE(NULL, neuron->steps, taps);
    }
}

static void go_on(const ds2ta_neuron *neuron, const int32_t *product, int stride, const int32_t *bias, const int32_t *threshold,
                  int32_t *state, uint8_t *out, size_t group_stride) {
    switch (neuron->steps == 1 ? neuron->taps : 0) {
    case 1: FIRE(state, 1, 1); break;
    case 2: FIRE(state, 1, 2); break;
    case 3: FIRE(state, 1, 3); break;
    case 4: FIRE(state, 1, 4); break;
    default: FIRE(state, neuron->steps, neuron->taps);
    }
}

#undef FIRE

#ifdef DS2TA_HAS_SUBSETS
/* Tokens side by side: each register has one channel of them. */
static inline __attribute__((always_inline)) void fire_across_of(const ds2ta_neuron *neuron, const int32_t *sums, size_t stride,
                                                                 const int32_t *bias, const int32_t *threshold, uint8_t *out,
                                                                 size_t group_stride, int steps, int taps) {
    const longs zero = {0};
    for (int at = 0; at < DS2TA_QUARTET * DS2TA_SPAN; at += LONG_LANES) {
        int output = at / DS2TA_SPAN;
        fire_register(neuron, sums + (size_t)output * stride + at % DS2TA_SPAN, DS2TA_SPAN, zero + bias[output], zero + threshold[output], NULL,
                      out + at, group_stride, steps, taps);
    }
}

#define FIRE(steps, taps) fire_across_of(neuron, sums, stride, bias, threshold, out, group_stride, steps, taps)

static void fire_across(const ds2ta_neuron *neuron, const int32_t *sums, size_t stride, const int32_t *bias, const int32_t *threshold,
                        uint8_t *out, size_t group_stride) {
    int taps = neuron->taps < neuron->steps ? neuron->taps : neuron->steps;
    switch (neuron->steps == 4 ? taps : 0) {
    case 1: FIRE(4, 1); break;
    case 2: FIRE(4, 2); break;
    case 3: FIRE(4, 3); break;
    case 4: FIRE(4, 4); break;
    default: FIRE(neuron->steps, taps);
    }
}

#undef FIRE
#endif
