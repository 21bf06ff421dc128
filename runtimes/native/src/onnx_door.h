/* Kernels for the populations of an exported ONNX file: what they are made from and what one of them holds. */
#ifndef DS2TA_ONNX_DOOR_H
#define DS2TA_ONNX_DOOR_H

#include "onnx_abi.h"
#include "plan.h"

#include <pthread.h>

enum { DOOR_INPUTS = 5, DOOR_OUTPUTS = 6, DOOR_RANK = 5, DOOR_NAME = 32, DOOR_TAPS = 64 };

/* The layers that have kernels. What each computes is said by the function of the same name in the file. */
enum door_kind { DOOR_LINEAR, DOOR_CONV, DOOR_ATTENTION, DOOR_POOL, DOOR_READOUT };

typedef struct {
    const char *stem;
    enum door_kind kind;
    int wide; /* whether values or weights may have 16 bits */
    int input_count, output_count;
    int inputs[DOOR_INPUTS], outputs[DOOR_OUTPUTS]; /* element types */
    int inner[DOOR_OUTPUTS];                        /* what the plan calls each output; the spikes are none of these */
    int first_constant;                             /* inputs from here on must be constants; none where it is input_count */
} door_layer;

/* One operator name in one configuration; ONNX Runtime hands back the address of its first member. */
typedef struct {
    ort_op op;
    const door_layer *layer;
    char name[DOOR_NAME];
    int threads;
    char isa[16]; /* empty: the best */
} door_op;

/* A tensor of a call. */
typedef struct {
    int type;
    size_t rank;
    int64_t size[DOOR_RANK];
    void *data;
} door_tensor;

/* One node of a session. */
typedef struct {
    const door_op *op;
    ort_api api;
    int leak_numerator, leak_shift, taps, decay, guard_bits, heads;
    int repeats; /* steps for which a still picture is shown; 0 where pictures are not still */
    pthread_mutex_t turn;
    /* Made at the first call, and again when the shape changes or counts grow. */
    ds2ta_plan *plan;
    int steps, height, width, planes;
    ds2ta_scratch *more; /* of the other threads; the first works in the plan's own */
} door_kernel;

/* An error with a text of ours. */
ort_status *door_refuse(const door_kernel *kernel, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* onnx_tensors.c: inputs and outputs of a call. An output that nobody asked for has no data. */
ort_status *door_read(const door_kernel *kernel, ort_context *context, door_tensor inputs[DOOR_INPUTS]);
ort_status *door_write(const door_kernel *kernel, ort_context *context, size_t index, door_tensor *output);
int64_t door_elements(const door_tensor *tensor);

/* Bits of the largest count, at least 1. */
int door_bits(const uint8_t *counts, int64_t length);

/* onnx_plan.c: layers with weights, and attention. */
ort_status *door_weighted(door_kernel *kernel, ort_context *context, const door_tensor *inputs);
ort_status *door_attention(door_kernel *kernel, ort_context *context, const door_tensor *inputs);
void door_forget_plan(door_kernel *kernel);

/* onnx_bytes.c: layers that read bytes once and need no patterns. */
ort_status *door_pool(const door_kernel *kernel, ort_context *context, const door_tensor *inputs);
ort_status *door_readout(const door_kernel *kernel, ort_context *context, const door_tensor *inputs);

#endif
