/* Integer inference of spiking transformers on a CPU: the interface of the library.
 *
 * A plan is made once from a list of values and a list of operations and then runs any number of samples without
 * allocating. What every operation computes is said by the class of the same name in ds2ta_deploy/graph/ops.
 *
 * Spikes are not stored one byte a step. A value is a byte for each neuron and group of four time steps: bit t is the
 * spike of step t, its PATTERN. A count (after a residual sum) has several such PLANES, plane k holding bit k of the
 * count. Layout: [plane][group][token][channel], channels padded to a multiple of DS2TA_TILE with zeros.
 *
 * Any other integer is stored as it is, in 32 bits: a membrane stream, a map of scores, a sum. Layout: [step][token][channel]. Heads are
 * neighbouring channels in both layouts, and the tokens of a chunk of time steps are neighbouring rows: who splits heads or cuts chunks
 * moves nothing.
 */
#ifndef DS2TA_NATIVE_H
#define DS2TA_NATIVE_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define DS2TA_API __declspec(dllexport)
#else
#define DS2TA_API __attribute__((visibility("default")))
#endif

/* Changes whenever a structure or the meaning of a function does. */
#define DS2TA_ABI 3

/* Output channels that a kernel computes at once. */
#define DS2TA_TILE 64
/* Time steps in one pattern. */
#define DS2TA_GROUP 4
/* Limits that a plan is checked against. */
#define DS2TA_MAX_COUNT 4096
#define DS2TA_MAX_THREADS 256
#define DS2TA_MAX_STEPS 64
#define DS2TA_MAX_WEIGHED 1024 /* time steps that a time mix or a comparison has numbers for */
#define DS2TA_MAX_PLANES 8
#define DS2TA_MAX_ROWS 65535
#define DS2TA_MAX_HEAD 1024
#define DS2TA_MAX_DILATION 64
#define DS2TA_MAX_ROOM (1 << 28) /* integers that a thread works in */

enum ds2ta_kind {
    DS2TA_ENCODE = 0,    /* InputTable, Conv2d, bias, neuron; like the next two without a neuron when its output is a stream */
    DS2TA_LINEAR = 1,    /* Linear, TemporalWindow, Lif */
    DS2TA_CONV = 2,      /* Conv2d, TemporalWindow, Lif */
    DS2TA_ATTENTION = 3, /* query by key, Lookup, map by value, TemporalWindow, Lif */
    DS2TA_POOL = 4,      /* MaxPool2d of spikes, over rows and columns */
    DS2TA_ADD = 5,       /* residual sum of counts */
    DS2TA_READOUT = 6,   /* sum over time and tokens, weights, bias */
    DS2TA_GIVEN = 7,     /* counts that the caller of a run gives */
    DS2TA_NEURON = 8,    /* TemporalWindow, Repeat, Lif on integers */
    DS2TA_WINDOW = 9,    /* TemporalWindow */
    DS2TA_SUM = 10,      /* Add */
    DS2TA_MAXIMUM = 11,  /* MaxPool2d of any integers, over either pair of axes */
    DS2TA_MULTIPLY = 12, /* Mul */
    DS2TA_REDUCE = 13,   /* ReduceSum */
    DS2TA_MATMUL = 14,   /* MatMul */
    DS2TA_LOOKUP = 15,   /* Lookup */
    DS2TA_TIME_MIX = 16, /* TimeMix */
    DS2TA_COMPARE = 17,  /* Threshold */
    DS2TA_KINDS = 18
};

/* What a DS2TA_MAXIMUM slides over, and what a DS2TA_REDUCE adds up. */
enum ds2ta_axis { DS2TA_OVER_TOKENS = 0, DS2TA_OVER_HEADS = 1, DS2TA_OVER_CHANNELS = 2 };

/* What happens inside an operation and can be traced. */
enum ds2ta_inner {
    DS2TA_PRODUCT = 0,
    DS2TA_CURRENT = 1,
    DS2TA_MEMBRANE = 2,
    DS2TA_SCORES = 3,
    DS2TA_DENOISED = 4,
    DS2TA_TABLED = 5, /* input after its table */
    DS2TA_INNER = 6
};

typedef struct {
    int32_t height, width; /* of a picture; tokens are height * width */
    int32_t channels;
    int32_t planes; /* bits of the largest count; 0 for integers of 32 bits */
    int64_t offset; /* in the arena, a multiple of 64 */
    int32_t steps;  /* of integers of 32 bits; counts have the plan's */
} ds2ta_value;

typedef struct {
    int32_t kind;
    int32_t inputs[3]; /* values; the network's own input is -1. A layer whose output is a stream adds inputs 1 and 2 to it, if any */
    int32_t output;    /* value; the logits are -1 */
    int32_t size;      /* of a convolution's kernel, odd */
    int32_t still;     /* encoder: whether one picture stands for all time steps */
    int32_t heads, entries; /* time mix, compare: time steps of a whole run, at least those of the plan */
    int32_t taps, decay, guard_bits, leak_numerator, leak_shift;
    int32_t in_channels, out_channels;
    const int16_t *table;     /* encoder [in_channels][256]; attention, lookup [heads][entries]; time mix [entries][entries] */
    const int8_t *weight;     /* [out][rows] */
    const int16_t *wide;      /* encoder [out][rows] */
    const int32_t *bias;      /* [out] */
    const int32_t *threshold; /* [out]; compare [entries] */
    int32_t shift;    /* layers whose output is a stream: of the products, to the left */
    int32_t dilation; /* encoder, convolution: from one place of the kernel to the next */
    int32_t stride;   /* pooling */
    int32_t axis;     /* enum ds2ta_axis; tokens stand for rows and columns of a pooled picture, channels for tokens and channels of a head */
    int32_t left_heads, right_heads; /* of the inputs, where they may differ from the output's */
    int32_t transpose_left, transpose_right;
} ds2ta_op;

typedef struct ds2ta_plan ds2ta_plan;

DS2TA_API int ds2ta_abi(void);

/* Whether the instruction set of this name ("scalar", "avx2", "avx512", "neon") was compiled in and works here. */
DS2TA_API int ds2ta_supports(const char *isa);

/* Makes a plan, or returns NULL and says why in `error`. The operations' arrays are copied. `isa` NULL picks the best.
 *
 * Refused is whatever could touch memory that is not the plan's: shapes that do not fit each other, values outside the arena or in
 * each other's place, reads of what was not made. Two things cannot be seen from here and are the caller's to prove: that the arrays
 * are as long as the shapes say, and that no sum leaves 32 bits. */
DS2TA_API ds2ta_plan *ds2ta_plan_new(int time_steps, const ds2ta_value *values, int value_count, const ds2ta_op *ops, int op_count,
                                     int64_t arena_bytes, int threads, const char *isa, char *error, size_t error_size);

DS2TA_API void ds2ta_plan_free(ds2ta_plan *plan);

DS2TA_API const char *ds2ta_plan_isa(const ds2ta_plan *plan);

/* Bytes that the plan holds: packed weights, arena, scratch. */
DS2TA_API int64_t ds2ta_plan_bytes(const ds2ta_plan *plan);

/* Runs `batch` samples, from the beginning.
 *
 * input: uint8 [batch][H][W][C] of still pictures, else [T][batch][H][W][C].
 * logits: int32 [batch][classes].
 * values: for each value NULL or uint8 [T][batch][tokens][channels] to receive its counts, or int32 for integers of 32 bits; a given
 *     value's counts are read from there instead, and are 0 for NULL.
 * inner: for each operation DS2TA_INNER pointers, NULL or an array to receive what happens inside; may be NULL itself.
 * nanoseconds: for each operation, receives the time it took the first thread in all; may be NULL.
 *
 * A plan runs one call at a time; different plans may run at once. */
DS2TA_API void ds2ta_run(ds2ta_plan *plan, const uint8_t *input, int batch, int32_t *logits, uint8_t *const *values, void *const *inner,
                         int64_t *nanoseconds);

/* What a sample's run remembers from one step to the next: so many integers of 32 bits, all 0 before the first. An operation's begin at
 * ds2ta_state_place, and lie there as [token][tile][slot][DS2TA_TILE]: a neuron has `taps` slots, the products of the last taps - 1 time
 * steps, the oldest first, and then what its membrane carries over, after reset and leak. A window has the former, a time mix its inputs
 * of all time steps but the last; these two lie as [token][slot][channel]. */
DS2TA_API int64_t ds2ta_state_size(const ds2ta_plan *plan);
DS2TA_API int64_t ds2ta_state_place(const ds2ta_plan *plan, int op);

/* Runs the plan's time steps of samples that have taken `taken` steps before, as ds2ta_run does otherwise.
 *
 * state: int32 [batch][ds2ta_state_size], on an address that 64 divides; is what was remembered, and then what is.
 *
 * Returns 0, and has done nothing, for a state on no such address, or when `taken` is no multiple of the plan's steps or leaves none of
 * the steps that a time mix or a comparison has numbers for. */
DS2TA_API int ds2ta_step(ds2ta_plan *plan, int64_t taken, int32_t *state, const uint8_t *input, int batch, int32_t *logits,
                         uint8_t *const *values, void *const *inner, int64_t *nanoseconds);

#endif
