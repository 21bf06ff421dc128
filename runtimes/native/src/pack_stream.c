/* Copies the arrays of the operations on streams, and says how much room they need. */
#include "stream.h"

#include <string.h>

/* Numbers in an operation's table. */
static size_t table_size(const ds2ta_op *op) {
    size_t entries = (size_t)op->entries;
    return op->kind == DS2TA_TIME_MIX ? entries * entries : op->kind == DS2TA_LOOKUP ? (size_t)op->heads * entries : 0;
}

int64_t ds2ta_pack_stream(ds2ta_plan *plan, ds2ta_node *node) {
    int64_t bytes = 0;
    const ds2ta_op *op = &node->op;
    const ds2ta_value *in = plan->values + op->inputs[0], *out = plan->values + op->output;
    node->channels = in->channels;
    node->planes = in->planes;
    node->tokens = ds2ta_tokens(in);
    node->stride_in = ds2ta_padded(in->channels);
    node->stride_out = ds2ta_padded(out->channels);
    node->tiles = node->stride_out / DS2TA_TILE;
    int fires = op->kind == DS2TA_NEURON, compares = op->kind == DS2TA_COMPARE;
    size_t outputs = (size_t)node->stride_out, entries = table_size(op);
    if (fires || op->kind == DS2TA_WINDOW) node->bias = ds2ta_take(&bytes, outputs, sizeof(int32_t));
    if (fires || compares) node->threshold = ds2ta_take(&bytes, compares ? (size_t)op->entries : outputs, sizeof(int32_t));
    if (entries) node->table = ds2ta_take(&bytes, entries, sizeof(int16_t));
    if (bytes < 0) return -1;
    if (node->bias) memcpy(node->bias, op->bias, (size_t)out->channels * sizeof(int32_t));
    if (compares) memcpy(node->threshold, op->threshold, (size_t)op->entries * sizeof(int32_t));
    for (size_t i = 0; fires && i < outputs; i++) node->threshold[i] = i < (size_t)out->channels ? op->threshold[i] : INT32_MAX;
    if (entries) memcpy(node->table, op->table, entries * sizeof(int16_t));
    return bytes;
}

static size_t room_of(const ds2ta_plan *plan, const ds2ta_node *node) {
    if (node->op.kind < DS2TA_NEURON) return 0;
    if (node->op.kind == DS2TA_MATMUL) return ds2ta_matmul_room(plan, node);
    int in = plan->values[node->op.inputs[0]].channels, out = plan->values[node->op.output].channels;
    return 5 * (size_t)(in > out ? in : out) + DS2TA_TILE; /* two factors, as they lie and spread, and what becomes of them */
}

size_t ds2ta_room(const ds2ta_plan *plan) {
    size_t most = 0;
    for (int i = 0; i < plan->node_count; i++) {
        size_t one = room_of(plan, plan->nodes + i);
        most = one > most ? one : most;
    }
    return most;
}
