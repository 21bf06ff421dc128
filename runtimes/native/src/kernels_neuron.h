/* Temporal window and neuron in vectors; a part of kernels_vector.h. */

/* A tap's product, attenuated. */
static inline __attribute__((always_inline)) longs attenuated(const ds2ta_neuron *neuron, longs product, int lag) {
    return (product << neuron->guard_bits) >> (neuron->decay * lag < 31 ? neuron->decay * lag : 31);
}

/* `steps` and `taps` are the neuron's, or numbers that the compiler knows; `state` is NULL, as the compiler knows, at the beginning. */
static inline __attribute__((always_inline)) void fire_of(const ds2ta_neuron *neuron, const int32_t *product, size_t stride, const int32_t *bias,
                                                          const int32_t *threshold, int32_t *state, uint8_t *out, size_t group_stride, int steps,
                                                          int taps) {
    const longs zero = {0};
    const int past = taps - 1, numerator = neuron->leak_numerator; /* read once: what is written could lie where it is */
    const int guard = neuron->guard_bits, leak = neuron->leak_shift;
    longs decay[4]; /* later taps are seldom: they are computed where they are needed */
    for (int m = 0; m < 4; m++) decay[m] = zero + (neuron->decay * m < 31 ? neuron->decay * m : 31);
    for (int first = 0; first < DS2TA_TILE; first += LONG_LANES) {
        longs constant = LOAD(longs, bias + first) << guard, limit = LOAD(longs, threshold + first);
        longs carried = state ? LOAD(longs, state + past * DS2TA_TILE + first) : zero, pattern = zero, seen[4];
        for (int t = 0; t < steps; t++) {
            longs current = constant, now = LOAD(longs, product + (size_t)t * stride + first) << guard;
            if (taps > 1) seen[t % 4] = now;
            current += now;
            for (int m = 1; m < taps && m <= t; m++)
                current += m < 4 ? seen[(t - m) % 4] >> decay[m] : attenuated(neuron, LOAD(longs, product + (size_t)(t - m) * stride + first), m);
            for (int m = t + 1; state && m < taps; m++)
                current += attenuated(neuron, LOAD(longs, state + (past + t - m) * DS2TA_TILE + first), m);
            longs membrane = carried + current, fired = membrane >= limit;
            carried = membrane & ~fired;
            if (numerator != 1) carried *= numerator;
            carried >>= leak;
            pattern |= fired & 1 << t % DS2TA_GROUP;
            if (t % DS2TA_GROUP == DS2TA_GROUP - 1 || t + 1 == steps) {
                store_low_bytes(pattern, out + (size_t)(t / DS2TA_GROUP) * group_stride + first);
                pattern = zero;
            }
        }
        for (int k = 0; state && k < past; k++) {
            const int32_t *from = steps + k < past ? state + (steps + k) * DS2TA_TILE : product + (size_t)(steps + k - past) * stride;
            STORE(longs, state + k * DS2TA_TILE + first, LOAD(longs, from + first));
        }
        if (state) STORE(longs, state + past * DS2TA_TILE + first, carried);
    }
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
