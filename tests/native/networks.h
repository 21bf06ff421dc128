/* Random networks for the tests of the library: every kind of operation, sizes on and beside the edges of registers. */
#ifndef DS2TA_TEST_NETWORKS_H
#define DS2TA_TEST_NETWORKS_H

#include "ds2ta_native.h"

enum { MOST_VALUES = 40, MOST_OPS = 40, BATCH = 3, CLASSES = 5 };

typedef struct {
    int steps, value_count, op_count, classes;
    ds2ta_value values[MOST_VALUES];
    ds2ta_op ops[MOST_OPS];
    int64_t arena;
    uint8_t *input;
    int given;       /* value whose counts the caller gives; -1 for none */
    uint8_t *counts; /* its counts */
    void *arrays[5 * MOST_OPS]; /* owned */
    int array_count;
    uint64_t random;
} network;

/* What a run gives: logits, every value, and everything inside. */
typedef struct {
    int32_t logits[BATCH * CLASSES];
    uint8_t *values[MOST_VALUES];
    void *inner[MOST_OPS * DS2TA_INNER];
    size_t value_sizes[MOST_VALUES], inner_sizes[MOST_OPS * DS2TA_INNER];
} results;

/* Makes the network of a seed: spikes and counts; or membrane streams and every kind of operation on them. */
void network_make(network *n, uint64_t seed);
void network_make_streams(network *n, uint64_t seed);
/* corners.c: networks in which sums would leave 16 bits if rows were not added in turns, or were added too often; 0 to CORNERS - 1. */
enum { CORNERS = 4 };
void network_make_corner(network *n, int corner);
/* Whether what fires decides which way to a layer's sums is taken. */
int choices_are_right(const char *isa);
void network_free(network *n);

/* A plan of it, or NULL with the reason in `error`. */
ds2ta_plan *network_plan(const network *n, const char *isa, int threads, char *error, size_t size);

/* The same network over fewer time steps at once, without the bias of its readout: what is run step by step. It owns no array. */
void network_over(const network *n, int steps, network *over);

/* Runs a plan with all values traced, and all that happens inside if that is asked for; the results are the caller's to free. */
void network_run(const network *n, ds2ta_plan *plan, int inside, results *r);
/* Runs a plan of network_over behind `taken` steps, with its share of the inputs, and traces what happens inside every other time; returns
 * what ds2ta_step does. */
int network_step(const network *n, const network *over, ds2ta_plan *plan, int taken, int32_t *state, results *r);
void results_free(results *r);
/* Whether logits and values are the same, and what happens inside where both say it. */
int results_equal(const results *a, const results *b);
/* Whether all values, and what happens inside, are those of the whole run from step `taken` on. */
int results_are_part(const network *n, const network *over, const results *whole, const results *part, int taken);

/* encoders.c: whether the products of a network's encoder, if it has one, are what they are defined to be. */
int encoder_is_right(const network *n, const results *r);
/* Whether an instruction set convolves so many pairs as the scalar kernel does; adds up how many sums are not 0. */
int convolutions_equal(const char *isa, int pairs, int channels, size_t *sums);

/* A number in [low, high]. */
int64_t draw(network *n, int64_t low, int64_t high);

/* The parts that networks are made of. */
int pick(network *n, const int *from, int count);
#define PICK(n, ...) pick(n, (const int[]){__VA_ARGS__}, (int)(sizeof((const int[]){__VA_ARGS__}) / sizeof(int)))
int32_t *int32s(network *n, int count, int64_t low, int64_t high);
int16_t *int16s(network *n, size_t count, int64_t low, int64_t high);
int8_t *weights(network *n, size_t count);
int add_value(network *n, int height, int width, int channels, int planes);
void set_steps(network *n, int steps); /* of the value that was added last */
ds2ta_op *add_op(network *n, int kind, int input, int output);
void add_neuron(network *n, ds2ta_op *op, int64_t scale);
void add_readout(network *n, int value);
int encode(network *n);
int add(network *n, int left, int right);

#endif
