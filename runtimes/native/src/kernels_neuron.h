/* Temporal window and neuron in vectors; a part of kernels_vector.h. */

/* A tap's product, attenuated. */
static inline __attribute__((always_inline)) longs attenuated(const ds2ta_neuron *neuron, longs product, int lag) {
    return (product << neuron->guard_bits) >> (neuron->decay * lag < 31 ? neuron->decay * lag : 31);
}

#ifndef DS2TA_RESET
#define DS2TA_RESET reset
#define DS2TA_RESET_WORDS reset_words
/* What a membrane is behind its threshold: itself where it does not reach it, and there the silence gets the step's bit, or else 0. */
#define DS2TA_MAKE_RESET(name, vector, number)                                                                                \
    static inline __attribute__((always_inline)) vector name(vector membrane, vector limit, int bit, vector *silence) { \
        vector silent = membrane < limit;                                                                                     \
        *silence |= silent & (number)bit;                                                                                     \
        return membrane & silent;                                                                                             \
    }
DS2TA_MAKE_RESET(reset, longs, int32_t)
DS2TA_MAKE_RESET(reset_words, words, int16_t)
#undef DS2TA_MAKE_RESET
#endif

/* One register of neurons in 16 bits, which have no window. A membrane above 16 bits fires and is reset like one that fits; one below them is seen in `lowest`. Steps that
 * there are not have no rows: whatever fires there is not written. */
static inline __attribute__((always_inline)) void fire_words(const words *sums, words bias, words limit, int leak_shift, int written, words *lowest,
                                                             uint8_t *out) {
    words carried = {0}, silence = {0};
    for (int t = 0; t < DS2TA_GROUP; t++) {
        words membrane = add_saturated(carried, sums[t] + bias);
        *lowest = smaller_words(*lowest, membrane);
        carried = DS2TA_RESET_WORDS(membrane, limit, 1 << t, &silence) >> leak_shift;
    }
    store_bytes_of_words(~silence & (int16_t)written, out);
}

/* One register of neurons. Its products lie in memory, or are `held` in registers, one a step. `steps`, `taps` and `guard` are the neuron's, or numbers that the compiler knows; `state` is NULL, as the
 * compiler knows, at the beginning. What is written may not lie where the neuron is, or it would be read again and again. */
static inline __attribute__((always_inline)) void fire_register(const ds2ta_neuron *neuron, const int32_t *product, size_t stride,
                                                                const longs *held, longs bias, longs limit, int32_t *state, uint8_t *out, size_t group_stride, int steps,
                                                                int taps, int guard) {
    const longs zero = {0};
    const int past = taps - 1;
    longs decay[4]; /* later taps are seldom: they are computed where they are needed */
    for (int m = 0; m < 4; m++) decay[m] = zero + (neuron->decay * m < 31 ? neuron->decay * m : 31);
    longs constant = bias << guard, carried = state ? LOAD(longs, state + past * DS2TA_TILE) : zero, silence = zero, seen[4];
    for (int t = 0; t < steps; t++) {
        longs current = constant, now = (held ? held[t] : LOAD(longs, product + (size_t)t * stride)) << guard;
        if (taps > 1) seen[t % 4] = now;
        current += now;
        for (int m = 1; m < taps && m <= t; m++)
            current += m < 4 ? seen[(t - m) % 4] >> decay[m] : attenuated(neuron, LOAD(longs, product + (size_t)(t - m) * stride), m);
        for (int m = t + 1; state && m < taps; m++) current += attenuated(neuron, LOAD(longs, state + (past + t - m) * DS2TA_TILE), m);
        carried = DS2TA_RESET(carried + current, limit, 1 << t % DS2TA_GROUP, &silence);
        if (neuron->leak_numerator != 1) carried *= neuron->leak_numerator;
        carried >>= neuron->leak_shift;
        if (t % DS2TA_GROUP == DS2TA_GROUP - 1 || t + 1 == steps) {
            store_low_bytes(silence ^ ((2 << t % DS2TA_GROUP) - 1), out + (size_t)(t / DS2TA_GROUP) * group_stride);
            silence = zero;
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
                                                          int taps, int guard) {
    for (int first = 0; first < DS2TA_TILE; first += LONG_LANES)
        fire_register(neuron, product + first, stride, NULL, LOAD(longs, bias + first), LOAD(longs, threshold + first), state ? state + first : NULL,
                      out + first, group_stride, steps, taps, guard);
}

/* Calls of a run's beginning, with the steps and taps that most networks have as numbers that the compiler knows. */
#define DS2TA_SPECIALIZE(own, CALL)                                                             \
    do {                                                                                        \
        int taps = (own).taps < (own).steps ? (own).taps : (own).steps, guard = (own).guard_bits; \
        switch ((own).steps == 4 ? taps : 0) {                                                  \
        case 1:                                                                                 \
            if (guard) CALL(4, 1, guard);                                                       \
            else CALL(4, 1, 0);                                                                 \
            break;                                                                              \
        case 2: CALL(4, 2, guard); break;                                                       \
        case 3: CALL(4, 3, guard); break;                                                       \
        case 4: CALL(4, 4, guard); break;                                                       \
        default: CALL((own).steps, taps, guard);                                                \
        }                                                                                       \
    } while (0)

#define FIRE(state, steps, taps, guard) \
    fire_of(&own, product, (size_t)stride, bias, threshold, state, out, group_stride, steps, taps, guard)

static void fire(const ds2ta_neuron *neuron, const int32_t *product, int stride, const int32_t *bias, const int32_t *threshold,
                 uint8_t *out, size_t group_stride) {
    const ds2ta_neuron own = *neuron;
#define FROM_ZERO(steps, taps, guard) FIRE(NULL, steps, taps, guard)
    DS2TA_SPECIALIZE(own, FROM_ZERO);
#undef FROM_ZERO
}

static void go_on(const ds2ta_neuron *neuron, const int32_t *product, int stride, const int32_t *bias, const int32_t *threshold,
                  int32_t *state, uint8_t *out, size_t group_stride) {
    const ds2ta_neuron own = *neuron;
    switch (own.steps == 1 ? own.taps : 0) {
    case 1: FIRE(state, 1, 1, own.guard_bits); break;
    case 2: FIRE(state, 1, 2, own.guard_bits); break;
    case 3: FIRE(state, 1, 3, own.guard_bits); break;
    case 4: FIRE(state, 1, 4, own.guard_bits); break;
    default: FIRE(state, own.steps, own.taps, own.guard_bits);
    }
}

#undef FIRE

#ifdef DS2TA_HAS_SUBSETS
/* Tokens side by side: each register has one channel of them. */
static inline __attribute__((always_inline)) void fire_across_of(const ds2ta_neuron *neuron, const int32_t *sums, size_t stride,
                                                                 const int32_t *bias, const int32_t *threshold, uint8_t *out,
                                                                 size_t group_stride, int steps, int taps, int guard) {
    const longs zero = {0};
    for (int at = 0; at < DS2TA_QUARTET * DS2TA_SPAN; at += LONG_LANES) {
        int output = at / DS2TA_SPAN;
        fire_register(neuron, sums + (size_t)output * stride + at % DS2TA_SPAN, DS2TA_SPAN, NULL, zero + bias[output], zero + threshold[output], NULL,
                      out + at, group_stride, steps, taps, guard);
    }
}

#define FIRE(steps, taps, guard) fire_across_of(&own, sums, stride, bias, threshold, out, group_stride, steps, taps, guard)

static void fire_across(const ds2ta_neuron *neuron, const int32_t *sums, size_t stride, const int32_t *bias, const int32_t *threshold,
                        uint8_t *out, size_t group_stride) {
    const ds2ta_neuron own = *neuron;
    DS2TA_SPECIALIZE(own, FIRE);
}

#undef FIRE
#endif
