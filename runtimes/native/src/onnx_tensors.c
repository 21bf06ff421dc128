/* Tensors of ONNX Runtime. */
#include "onnx_door.h"

#include <string.h>

/* Returns at once with what ONNX Runtime says is wrong. */
#define TRY(call)                        \
    do {                                 \
        ort_status *status = (call);     \
        if (status) return status;       \
    } while (0)

static ort_status *describe(ort_api api, const ort_shape *shape, door_tensor *tensor) {
    TRY(ort_element_type(api)(shape, &tensor->type));
    TRY(ort_rank(api)(shape, &tensor->rank));
    if (tensor->rank <= DOOR_RANK) TRY(ort_dimensions(api)(shape, tensor->size, tensor->rank));
    return NULL;
}

ort_status *door_read(const door_kernel *kernel, ort_context *context, door_tensor inputs[DOOR_INPUTS]) {
    ort_api api = kernel->api;
    memset(inputs, 0, DOOR_INPUTS * sizeof *inputs);
    for (int i = 0; i < kernel->op->layer->input_count; i++) {
        const ort_value *value = NULL;
        ort_shape *shape = NULL;
        TRY(ort_input(api)(context, (size_t)i, &value));
        if (!value) return door_refuse(kernel, "has no input %d", i);
        TRY(ort_shape_of(api)(value, &shape));
        ort_status *status = describe(api, shape, inputs + i);
        ort_release_shape(api)(shape);
        if (status) return status;
        if (inputs[i].rank > DOOR_RANK) return door_refuse(kernel, "input %d has %zu axes", i, inputs[i].rank);
        TRY(ort_data(api)((ort_value *)value, &inputs[i].data));
    }
    return NULL;
}

ort_status *door_write(const door_kernel *kernel, ort_context *context, size_t index, door_tensor *output) {
    ort_value *value = NULL;
    output->data = NULL;
    TRY(ort_output(kernel->api)(context, index, output->size, output->rank, &value));
    if (value) TRY(ort_data(kernel->api)(value, &output->data));
    return NULL;
}

int64_t door_elements(const door_tensor *tensor) {
    int64_t count = 1;
    for (size_t i = 0; i < tensor->rank; i++) count *= tensor->size[i];
    return count;
}

int door_bits(const uint8_t *counts, int64_t length) {
    uint64_t words = 0;
    int64_t at = 0;
    for (; at + 8 <= length; at += 8) {
        uint64_t word;
        memcpy(&word, counts + at, sizeof word);
        words |= word;
    }
    uint8_t any = 0;
    for (; at < length; at++) any |= counts[at];
    for (int byte = 0; byte < 8; byte++) any |= (uint8_t)(words >> 8 * byte);
    int bits = 1;
    while (any >> bits) bits++;
    return bits;
}
