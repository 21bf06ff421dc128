/* Tensors of ONNX Runtime, and their bytes as patterns. */
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

/* Where a sample's token lies in a tensor [step][sample][token][channel]. */
static size_t place_of(const ds2ta_plan *plan, const ds2ta_value *value, int step, int sample, int token) {
    size_t row = ((size_t)step * (size_t)plan->batch + (size_t)sample) * (size_t)ds2ta_tokens(value) + (size_t)token;
    return row * (size_t)value->channels;
}

void door_pack(const ds2ta_plan *plan, int value, const uint8_t *counts, int sample, int low, int high) {
    const ds2ta_value *v = plan->values + value;
    int channels = v->channels;
    size_t stride = (size_t)ds2ta_padded(channels);
    for (int plane = 0; plane < v->planes; plane++)
        for (int step = 0; step < plan->steps; step++) {
            int bit = step % DS2TA_GROUP;
            uint8_t *to = ds2ta_patterns(plan, value, plane, step / DS2TA_GROUP) + (size_t)low * stride;
            const uint8_t *from = counts + place_of(plan, v, step, sample, low);
            for (int token = low; token < high; token++, to += stride, from += channels)
                if (bit == 0)
                    for (int c = 0; c < channels; c++) to[c] = from[c] >> plane & 1;
                else
                    for (int c = 0; c < channels; c++) to[c] = (uint8_t)(to[c] | (from[c] >> plane & 1) << bit);
        }
}

void door_unpack(const ds2ta_plan *plan, int value, uint8_t *spikes, int sample, int low, int high) {
    const ds2ta_value *v = plan->values + value;
    int channels = v->channels;
    size_t stride = (size_t)ds2ta_padded(channels);
    for (int step = 0; step < plan->steps; step++) {
        int bit = step % DS2TA_GROUP;
        const uint8_t *from = ds2ta_patterns(plan, value, 0, step / DS2TA_GROUP) + (size_t)low * stride;
        uint8_t *to = spikes + place_of(plan, v, step, sample, low);
        for (int token = low; token < high; token++, to += channels, from += stride)
            for (int c = 0; c < channels; c++) to[c] = from[c] >> bit & 1;
    }
}
