/* A plan's inside: operations with their arrays packed for the kernels, the arena, and what each thread works in. */
#ifndef DS2TA_PLAN_H
#define DS2TA_PLAN_H

#include "kernels.h"

/* Rows of one sort at most, where more do not fit 16 bits when added; these always do: 255 * 128 < 2^15. */
#define DS2TA_PART 255

/* Lists that are joined to one at most, and planes whose lists are. */
#define DS2TA_MOST_PARTS 64
#define DS2TA_MOST_JOINED 4

/* Lists of a token at most whose sums fire at once, see narrow.c. */
#define DS2TA_MOST_NARROW 32

typedef struct {
    ds2ta_op op;
    int tokens, channels, planes; /* of the first input */
    int stride_in, stride_out;    /* padded channels */
    int rows, tiles;
    int parts, part_size; /* the rows of a column of a convolution's kernel are sorted in so many parts of so many rows */
    int chunk_count;   /* rows are added in so many turns, within each of which sums fit 16 bits */
    int most_listed;   /* a linear layer of counts: any so many of its rows, once or repeatedly, fit 16 bits; 0 where planes stay apart */
    int32_t *reach;    /* how far a number of rows can take a current, see narrow.c; NULL where neurons do not fire in 16 bits */
    int32_t largest_bias; /* 1 less for those below 0, as there is one number more there */
    int16_t *narrow_bias, *narrow_threshold; /* the same as below */
    int shared;        /* linear layers right before this one that read the same input the same way: it has their lists and counts */
    int sharers;       /* layers that have the same lists, this one included */
    int *chunks;       /* where they begin: rows (linear), or columns of the kernel times parts (convolution); one more at the end */
    int head_width, head_words; /* attention: channels of a head, padded; words that hold its bits */
    int padded_tokens;          /* attention: tokens, padded */
    int *together;     /* for each panel: how many rows may be added in 8 bits */
    int block;         /* tokens whose lists are made at once */
    int dense_block;   /* tokens whose counts are */
    int quads;         /* rows of the dense product, four at a time */
    int set_pairs;     /* sums of subsets: pairs of sets of rows, or 0 where there are none for this operation, */
    int subset_block;  /* and tokens that are indexed at once */
    int held_rows;     /* rows of a panel: row `rows`, and what rounds up to quads, are zeros */
    uint8_t *packed;   /* the panels' rows, see ds2ta_panel */
    int16_t *wide;     /* an encoder's weights, see encode.c: [tile][pair][DS2TA_TILE][2], */
    int32_t *pairs;    /* where in a window the pairs of values under its kernel lie, */
    int pair_count;
    int window_row;    /* values in a row of the window, */
    int strip;         /* pixels of the picture's rows that it shows, */
    int at_once;       /* and how many of them are computed at once */
    int32_t *bias;     /* padded with 0 */
    int32_t *threshold; /* padded with INT32_MAX, which no padded channel reaches */
    int16_t *table;
    uint8_t *short_table; /* the same in bytes [heads][DS2TA_ABREAST_ENTRIES], for attention that can use it, or NULL */
    int8_t *weight; /* readout [out][in] */
    int64_t state;  /* where the sample's state has what this operation remembers, */
    int remembered; /* and how many integers that are for each token */
} ds2ta_node;

/* Pieces of memory that a thread works in. */
#define DS2TA_PIECES 24

/* Tokens [first, first + count). */
typedef struct {
    int first, count;
} ds2ta_block;

/* Sets of rows of one plane: of all rows, or of those that are chosen because the others are silent in this block of tokens. */
typedef struct {
    const uint16_t *chosen; /* NULL: all */
    int count, pairs;
    size_t at; /* of their indices, behind those of the planes before */
} ds2ta_sets;

/* What one thread works in. */
typedef struct {
    void *pieces[DS2TA_PIECES]; /* what is given back in the end; all that follows lies in them */
    int piece_count;
    uint16_t *list;     /* the block's lists */
    uint32_t *at;       /* where each begins */
    uint32_t *start;    /* DS2TA_PATTERNS each */
    uint32_t *longest;  /* and how many rows it has in the step that has most, before planes are joined; */
    uint8_t *narrow;    /* whether a token's currents stay within 16 bits */
    uint16_t *stacks;   /* lists that are joined: of a row's stacks, see lists.c, or of a token's planes, */
    uint32_t *stack_at, *stack_start;
    uint8_t *stacked;   /* the patterns of one of them, */
    int stack_row;      /* and the row */
    uint8_t *counts;    /* the block's counts [token][group][step][row] */
    int8_t *quads;      /* a tile's weights for the dense product */
    uint8_t *indices;   /* sums of subsets: the block's indices, */
    ds2ta_sets sets[DS2TA_MAX_PLANES]; /* of each plane, */
    size_t set_bytes;   /* their indices' bytes for a group of a span, */
    uint16_t *chosen;   /* rows that planes have chosen */
    int chosen_count;
    uint8_t *tables;    /* tables of four channels, */
    int32_t *across;    /* their sums, */
    uint8_t *turned;    /* and a tile's patterns, tokens side by side */
    int32_t *product;
    int16_t *values, *map; /* attention: [pair of tokens][channel][2]; [DS2TA_QUERIES][token] */
    uint8_t *keys;         /* [byte][token] */
    uint64_t *words;       /* of a single token */
    int32_t *mixed, *context;
    uint8_t *abreast;     /* what abreast.c works in */
    int16_t *window;      /* encoder: what it sees [step][row][pixel][channel], */
    int32_t *encoded;     /* and a tile's sums [pixel][step][channel] */
    int32_t *room;        /* rows of integers, for the operations on streams */
    ds2ta_block listed, counted, indexed; /* tokens whose lists, counts and indices are here, for layers that share them */
} ds2ta_scratch;

struct ds2ta_threads;

/* How products of weights and spikes are made; by the number of spikes unless a test says otherwise. */
enum ds2ta_way { DS2TA_BY_DENSITY, DS2TA_LISTED, DS2TA_DENSE_WHERE_POSSIBLE, DS2TA_SUBSETS_WHERE_POSSIBLE };

struct ds2ta_plan {
    enum ds2ta_way way;
    int steps, groups, value_count, node_count, threads;
    ds2ta_value *values;
    ds2ta_node *nodes;
    uint8_t *arena;    /* of the thread whose view of the plan this is */
    uint8_t **arenas;  /* one a thread */
    ds2ta_scratch *scratch;
    struct ds2ta_threads *pool;
    const ds2ta_kernels *kernels;
    const ds2ta_costs *costs;
    int64_t bytes;
    int64_t state_size; /* integers that a sample's run remembers */
    int64_t weighed;    /* time steps that there are numbers for; INT64_MAX when they are for any */
    /* of the run in progress */
    int32_t *state; /* NULL at the beginning of a run: nothing is remembered, and nothing will be */
    int64_t taken;  /* time steps before */
    const uint8_t *input;
    int32_t *logits;
    uint8_t *const *traced;
    void *const *inner;
    int64_t *nanoseconds;
    int batch;
};

static inline int ds2ta_padded(int channels) { return (channels + DS2TA_TILE - 1) / DS2TA_TILE * DS2TA_TILE; }

static inline int ds2ta_tokens(const ds2ta_value *value) { return value->height * value->width; }

/* A convolution's rows are those of the kernel's places, column after column of the kernel: how far down and across in the picture a place
 * lies. */
static inline int ds2ta_down(const ds2ta_op *op, int place) { return (place % op->size - op->size / 2) * op->dilation; }
static inline int ds2ta_across(const ds2ta_op *op, int place) { return (place / op->size - op->size / 2) * op->dilation; }

/* The weights of tiles from `tile`, an even number, on. */
static inline ds2ta_panel ds2ta_panel_of(const ds2ta_node *node, int tile) {
    int width = node->tiles - tile < DS2TA_PANEL ? 1 : DS2TA_PANEL;
    return (ds2ta_panel){node->packed + (size_t)tile * (size_t)node->held_rows * DS2TA_TILE, width, node->together[tile / DS2TA_PANEL]};
}

/* Where the patterns of a value's plane and group begin. */
static inline uint8_t *ds2ta_patterns(const ds2ta_plan *plan, int value, int plane, int group) {
    const ds2ta_value *v = plan->values + value;
    size_t size = (size_t)ds2ta_tokens(v) * (size_t)ds2ta_padded(v->channels);
    return plan->arena + v->offset + ((size_t)plane * (size_t)plan->groups + (size_t)group) * size;
}

/* What an operation remembers of a token, or NULL at the beginning of a run. */
static inline int32_t *ds2ta_state_of(const ds2ta_plan *plan, const ds2ta_node *node, int sample, int token) {
    if (!plan->state) return NULL;
    return plan->state + (int64_t)sample * plan->state_size + node->state + (int64_t)token * node->remembered;
}

/* The trace of something inside an operation, or NULL. */
static inline void *ds2ta_inner_trace(const ds2ta_plan *plan, const ds2ta_node *node, int what) {
    return plan->inner ? plan->inner[(node - plan->nodes) * DS2TA_INNER + what] : NULL;
}

/* Whether a trace of what happens inside a neuron population is wanted. */
static inline int ds2ta_fires_traced(const ds2ta_plan *plan, const ds2ta_node *node) {
    return plan->inner && (ds2ta_inner_trace(plan, node, DS2TA_PRODUCT) || ds2ta_inner_trace(plan, node, DS2TA_CURRENT) ||
                           ds2ta_inner_trace(plan, node, DS2TA_MEMBRANE));
}

/* check.c: whether the description makes sense; says why not. */
int ds2ta_check(int steps, const ds2ta_value *values, int value_count, const ds2ta_op *ops, int op_count, int64_t arena_bytes, int threads,
                char *error, size_t error_size);

/* check_stream.c: what is wrong with an operation whose kind is DS2TA_NEURON or a later one, or NULL. */
const char *ds2ta_check_stream(int steps, const ds2ta_value *values, const ds2ta_op *op);

/* encode.c: packs an encoder's weights; returns the bytes it took, -1 when there is no memory. */
int64_t ds2ta_pack_encoder(const ds2ta_plan *plan, ds2ta_node *node);
/* encode.c: how many values its window has, and how many sums are made at once. */
size_t ds2ta_window_size(const ds2ta_plan *plan, const ds2ta_node *node);
size_t ds2ta_encoded_size(const ds2ta_plan *plan, const ds2ta_node *node);

/* pack_stream.c: copies the arrays of such an operation; returns the bytes it took, -1 when there is no memory. */
int64_t ds2ta_pack_stream(ds2ta_plan *plan, ds2ta_node *node);
/* pack_stream.c: how many integers of scratch->room the plan's nodes need. */
size_t ds2ta_room(const ds2ta_plan *plan);
/* matmul.c: how many a product needs. */
size_t ds2ta_matmul_room(const ds2ta_plan *plan, const ds2ta_node *node);

/* pack.c: memory aligned to a register, zeroed and counted; NULL, and -1 bytes from then on, when there is none. */
void *ds2ta_take(int64_t *bytes, size_t count, size_t size);

/* temporal.c: lays out what the operations remember, and counts the time steps that there are numbers for. */
void ds2ta_lay_out_state(ds2ta_plan *plan);

/* pack.c: finds the layers that share lists. */
void ds2ta_share(ds2ta_plan *plan);
/* pack.c: copies and packs an operation's arrays; returns the bytes it took, -1 when there is no memory. */
int64_t ds2ta_pack(ds2ta_plan *plan, ds2ta_node *node);
void ds2ta_unpack(ds2ta_node *node);
/* scratch.c: memory for one thread; returns the bytes, -1 when there is none. */
int64_t ds2ta_make_scratch(const ds2ta_plan *plan, ds2ta_scratch *scratch);
void ds2ta_free_scratch(ds2ta_scratch *scratch);

/* Bytes from one step's counts to the next one's. */
static inline size_t ds2ta_count_stride(const ds2ta_node *node) { return (size_t)node->quads * 4 + DS2TA_TILE; }

/* Where there are so few steps that a group is not full: tokens that the dense product takes at once, their steps one behind the other
 * as if they were a group's. */
static inline int ds2ta_fold(const ds2ta_plan *plan) { return plan->steps < DS2TA_GROUP ? DS2TA_GROUP / plan->steps : 1; }

/* Steps of a token's counts, in which those of a group that is not full are counted as well, unless the next token's follow there. */
static inline int ds2ta_counted(const ds2ta_plan *plan) { return ds2ta_fold(plan) > 1 ? plan->steps : plan->groups * DS2TA_GROUP; }

/* lists.c: lists of a block of tokens, for add_rows in layers.c: groups, planes, chunks of each token. */
void ds2ta_list_linear(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int first, int count);
void ds2ta_list_conv(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int first, int count);
/* costs.c: whether so many channels of a plane are better listed 2^behind times, in the list of the plane so far before, than once in a list
 * of their own. */
int ds2ta_joins(const ds2ta_plan *plan, const ds2ta_node *node, int64_t channels, int behind);
/* narrow.c: finds where neurons may fire in 16 bits; returns the bytes it took, -1 when there is no memory. */
int64_t ds2ta_pack_narrow(const ds2ta_plan *plan, ds2ta_node *node);
/* narrow.c: rows of a list in the step that has most. */
uint32_t ds2ta_longest_step(const uint32_t start[DS2TA_PATTERNS]);
/* narrow.c: finds the tokens of a block whose currents stay within 16 bits, so many from the first. */
void ds2ta_find_narrow(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int count);
/* narrow.c: adds rows and fires in 16 bits, for a panel of the block's n-th token; returns 0 where that was not possible. */
int ds2ta_fire_narrow(const ds2ta_plan *plan, const ds2ta_node *node, const ds2ta_scratch *scratch, const ds2ta_panel *panel, int n, int token,
                      int tile);
/* counts.c: counts of a block of tokens. */
void ds2ta_count_block(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int first, int count);

/* subsets.c: whether a layer's sums can be looked up in this run, and doing so for a block of tokens. */
int ds2ta_may_use_subsets(const ds2ta_plan *plan, const ds2ta_node *node);
void ds2ta_sum_subsets(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int first, int count);

/* abreast.c: whether an attention's queries can be taken side by side in this run, and doing so for tokens [low, high) of a sample; how
 * much of scratch->abreast that needs; and the table that it looks up in, of which the plan holds so many bytes more, -1 when there is no
 * memory. */
int ds2ta_may_go_abreast(const ds2ta_plan *plan, const ds2ta_node *node);
void ds2ta_attend_abreast(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int low, int high);
size_t ds2ta_abreast_room(const ds2ta_plan *plan, const ds2ta_node *node);
int64_t ds2ta_pack_abreast(const ds2ta_plan *plan, ds2ta_node *node);

/* Bytes of the tables of four channels. */
static inline size_t ds2ta_table_size(int pairs) { return (size_t)pairs * DS2TA_PAIR * DS2TA_QUARTET * DS2TA_TABLE_BYTES; }

/* The operations, for tokens [low, high) of sample `sample`. */
void ds2ta_encode(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high);
/* encode.c: the same for inputs that another function reads: elements [first, first + count) of [step][sample][pixel][channel]. */
typedef void (*ds2ta_look)(const void *source, size_t first, size_t count, int16_t *to);
void ds2ta_encode_seen(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, ds2ta_look look, const void *source, int sample,
                       int low, int high);
/* Linear layer or convolution. */
void ds2ta_weigh(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high);
void ds2ta_attend(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high);
void ds2ta_pool(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high);
void ds2ta_add(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high);
void ds2ta_readout(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high);

void ds2ta_neurons(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high);
void ds2ta_window(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high);
void ds2ta_sum(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high);
void ds2ta_maximum(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high);
void ds2ta_multiply(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high);
void ds2ta_reduce(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high);
void ds2ta_matmul(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high);
void ds2ta_look_up(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high);
void ds2ta_mix_steps(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high);
void ds2ta_compare(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high);

/* stream.c: adds one token's tile of a layer's products to its stream, for every step. */
void ds2ta_store(const ds2ta_plan *plan, const ds2ta_node *node, const int32_t *product, int stride, int sample, int token, int tile);
/* stream.c: writes a stream to its trace. */
void ds2ta_trace_stream(const ds2ta_plan *plan, int value, int sample, int low, int high);

/* given.c: counts of the caller to patterns. */
void ds2ta_given(const ds2ta_plan *plan, const ds2ta_node *node, ds2ta_scratch *scratch, int sample, int low, int high);

/* Where a sample's token lies in an array [step][sample][token][channel]. */
static inline size_t ds2ta_place(const ds2ta_plan *plan, int step, int sample, int token, int tokens, int channels) {
    return (((size_t)step * (size_t)plan->batch + (size_t)sample) * (size_t)tokens + (size_t)token) * (size_t)channels;
}

/* trace.c: writes a value's counts, or what a neuron population holds inside. */
void ds2ta_trace_value(const ds2ta_plan *plan, int value, int sample, int low, int high);
void ds2ta_trace_fire(const ds2ta_plan *plan, const ds2ta_node *node, const ds2ta_neuron *neuron, const int32_t *product, int stride,
                      const int32_t *state, int sample, int token, int tile);

/* costs.c: the way to a layer's sums that takes least time for tokens [first, first + count), by the spikes that are there. */
enum ds2ta_way ds2ta_choose_way(const ds2ta_plan *plan, const ds2ta_node *node, int first, int count);

/* layers.c: neuron of a node, and the firing of one token's tile with its trace. */
ds2ta_neuron ds2ta_neuron_of(const ds2ta_plan *plan, const ds2ta_node *node);
void ds2ta_fire(const ds2ta_plan *plan, const ds2ta_node *node, const int32_t *product, int stride, int sample, int token, int tile);
/* Weights are read once and seldom lie in a near cache: while a token is worked on, its share of what is needed next is fetched. */
typedef struct {
    const uint8_t *begin;
    size_t lines;
} ds2ta_ahead;

/* layers.c: the weights behind so many tiles, of the next layer where there are none, and fetching the n-th of `count` shares of them. */
ds2ta_ahead ds2ta_after_tile(const ds2ta_plan *plan, const ds2ta_node *node, int tile, int width);
void ds2ta_prefetch(ds2ta_ahead next, int n, int count);

/* layers.c: whether what these tokens' sums are made from is here already; if not, the caller makes it. */
int ds2ta_is_here(const ds2ta_node *node, int first, int count, ds2ta_block *held);

/* threads.c: a pool that runs one function on every thread at once. */
struct ds2ta_threads *ds2ta_threads_new(int count);
void ds2ta_threads_free(struct ds2ta_threads *pool);
void ds2ta_threads_run(struct ds2ta_threads *pool, void (*work)(void *, int), void *argument);
/* Waits until every thread is here. */
void ds2ta_threads_meet(struct ds2ta_threads *pool);

#endif
