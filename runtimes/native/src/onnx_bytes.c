/* Pooling and readout straight from the tensors' bytes: they read each of them once, so patterns would gain nothing. */
#include "onnx_door.h"

#include <stdlib.h>
#include <string.h>

/* 3x3, stride 2, padding 1, of one picture [height][width][channels]. */
static void pool_picture(const uint8_t *from, int64_t height, int64_t width, int64_t channels, uint8_t *to) {
    for (int64_t y = 0; y < height; y += 2)
        for (int64_t x = 0; x < width; x += 2, to += channels) {
            memset(to, 0, (size_t)channels);
            for (int64_t row = y ? y - 1 : 0; row <= y + 1 && row < height; row++)
                for (int64_t column = x ? x - 1 : 0; column <= x + 1 && column < width; column++) {
                    const uint8_t *seen = from + (row * width + column) * channels;
                    for (int64_t c = 0; c < channels; c++) to[c] = seen[c] > to[c] ? seen[c] : to[c];
                }
        }
}

ort_status *door_pool(const door_kernel *kernel, ort_context *context, const door_tensor *inputs) {
    if (inputs->rank != 5) return door_refuse(kernel, "takes [T, batch, H, W, C], not %zu axes", inputs->rank);
    const int64_t *size = inputs->size;
    door_tensor pooled = {ORT_UINT8, 5, {size[0], size[1], (size[2] + 1) / 2, (size[3] + 1) / 2, size[4]}, NULL};
    ort_status *status = door_write(kernel, context, 0, &pooled);
    if (status) return status;
    const uint8_t *from = inputs->data;
    uint8_t *to = pooled.data;
    for (int64_t picture = 0; picture < size[0] * size[1]; picture++)
        pool_picture(from + picture * size[2] * size[3] * size[4], size[2], size[3], size[4], to + picture * pooled.size[2] * pooled.size[3] * size[4]);
    return NULL;
}

/* counts[c] += over one sample's tokens of one step. */
static void count_tokens(const uint8_t *tokens, int64_t number, int64_t channels, int32_t *counts) {
    for (int64_t n = 0; n < number; n++, tokens += channels)
        for (int64_t c = 0; c < channels; c++) counts[c] += tokens[c];
}

ort_status *door_readout(const door_kernel *kernel, ort_context *context, const door_tensor *inputs) {
    const door_tensor *tokens = inputs, *weight = inputs + 1, *bias = inputs + 2;
    if (tokens->rank != 4 || weight->rank != 2 || bias->rank != 1 || weight->size[0] != tokens->size[3] || bias->size[0] != weight->size[1])
        return door_refuse(kernel, "takes tokens [T, batch, N, D], weights [D, classes] and a bias [classes]");
    int64_t steps = tokens->size[0], batch = tokens->size[1], number = tokens->size[2], channels = tokens->size[3], classes = weight->size[1];
    door_tensor logits = {ORT_INT32, 2, {batch, classes}, NULL};
    ort_status *status = door_write(kernel, context, 0, &logits);
    if (status) return status;
    int32_t *counts = malloc(((size_t)channels + 1) * sizeof *counts), *to = logits.data;
    if (!counts) return door_refuse(kernel, "not enough memory");
    for (int64_t sample = 0; sample < batch; sample++, to += classes) {
        memset(counts, 0, (size_t)channels * sizeof *counts);
        for (int64_t step = 0; step < steps; step++)
            count_tokens((const uint8_t *)tokens->data + (step * batch + sample) * number * channels, number, channels, counts);
        memcpy(to, bias->data, (size_t)classes * sizeof *to);
        const int8_t *row = weight->data;
        for (int64_t c = 0; c < channels; c++, row += classes)
            for (int64_t class = 0; class < classes; class++) to[class] += counts[c] * row[class];
    }
    free(counts);
    return NULL;
}
