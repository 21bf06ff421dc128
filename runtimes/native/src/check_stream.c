/* Whether the description of an operation on streams makes sense, once its inputs and its output are known to be values. */
#include "stream.h"

/* What the checks look at; sizes are those of the values, which were checked before. */
typedef struct {
    int steps;
    const ds2ta_op *op;
    const ds2ta_value *in[2], *out;
} context;

static int64_t steps_of(const context *c, const ds2ta_value *v) { return v->planes ? c->steps : v->steps; }

static int64_t rows_of(const context *c, const ds2ta_value *v) { return steps_of(c, v) * ds2ta_tokens(v); }

/* Rows of an input for one step of the output; -1 when they do not divide. */
static int64_t rows_a_step(const context *c, int side) {
    int64_t rows = rows_of(c, c->in[side]), steps = steps_of(c, c->out);
    return rows % steps ? -1 : rows / steps;
}

static int same_rows(const context *c, int side) { return rows_of(c, c->in[side]) == rows_of(c, c->out); }

static int same_shape(const context *c, int side) { return same_rows(c, side) && c->in[side]->channels == c->out->channels; }

static int divides(int heads, int channels) { return heads >= 1 && heads <= channels && channels % heads == 0; }

static int good_window(const ds2ta_op *op) {
    return op->bias && op->taps >= 1 && op->taps <= 64 && op->decay >= 0 && op->decay <= 8 && op->guard_bits >= 0 && op->guard_bits <= 24;
}

static const char *check_neuron(const context *c) {
    int repeated = !c->in[0]->planes && rows_of(c, c->in[0]) == ds2ta_tokens(c->out);
    if (c->in[0]->channels != c->out->channels || (!same_rows(c, 0) && !repeated)) return "has neurons for another stream";
    return NULL;
}

static const char *check_factor(const context *c, int side) {
    int heads = side ? c->op->right_heads : c->op->left_heads, channels = c->in[side]->channels, width = c->out->channels / c->op->heads;
    int64_t rows = rows_a_step(c, side);
    if (!divides(heads, channels) || (heads != 1 && heads != c->op->heads)) return "has a factor of other heads";
    if (channels / heads != 1 && channels / heads != width) return "has a factor of other channels";
    return rows == 1 || rows == ds2ta_tokens(c->out) ? NULL : "has a factor of other tokens";
}

static const char *check_multiply(const context *c) {
    if (!divides(c->op->heads, c->out->channels)) return "has heads that do not divide its channels";
    const char *wrong = check_factor(c, 0);
    return wrong ? wrong : check_factor(c, 1);
}

static const char *check_maximum(const context *c) {
    int stride = c->op->stride;
    if (stride != 1 && stride != 2) return "has a stride that is neither 1 nor 2";
    if ((c->in[0]->planes == 0) != (c->out->planes == 0) || c->in[0]->planes > c->out->planes) return "has too few bits for its maxima";
    if (c->op->axis == DS2TA_OVER_TOKENS) {
        int fits = (c->in[0]->height + stride - 1) / stride == c->out->height && (c->in[0]->width + stride - 1) / stride == c->out->width;
        return fits && c->in[0]->channels == c->out->channels && rows_a_step(c, 0) == ds2ta_tokens(c->in[0]) ? NULL : "does not pool its picture";
    }
    if (c->op->axis != DS2TA_OVER_CHANNELS || !divides(c->op->heads, c->in[0]->channels) || !divides(c->op->heads, c->out->channels))
        return "pools no tokens of heads";
    int64_t rows = rows_a_step(c, 0), width = c->in[0]->channels / c->op->heads;
    int fits = rows > 0 && (rows + stride - 1) / stride == ds2ta_tokens(c->out) && (width + stride - 1) / stride == c->out->channels / c->op->heads;
    return fits ? NULL : "does not pool its heads";
}

static const char *check_reduce(const context *c) {
    int heads = c->op->heads, tokens = ds2ta_tokens(c->out);
    int64_t rows = rows_a_step(c, 0);
    if (c->out->planes || !divides(heads, c->in[0]->channels)) return "makes no sums of heads";
    int width = c->in[0]->channels / heads;
    int fits = c->op->axis == DS2TA_OVER_TOKENS     ? rows > 0 && tokens == 1 && c->out->channels == c->in[0]->channels
               : c->op->axis == DS2TA_OVER_HEADS    ? rows == tokens && c->out->channels == width
               : c->op->axis == DS2TA_OVER_CHANNELS ? rows == tokens && c->out->channels == heads
                                                    : 0;
    return fits ? NULL : "has no place for its sums";
}

static const char *check_matmul(const context *c) {
    const ds2ta_op *op = c->op;
    int64_t left = rows_a_step(c, 0), right = rows_a_step(c, 1);
    if (c->out->planes || left < 1 || right < 1) return "multiplies other time steps";
    if (!divides(op->heads, c->in[0]->channels) || !divides(op->heads, c->in[1]->channels) || !divides(op->heads, c->out->channels))
        return "multiplies other heads";
    int64_t left_width = c->in[0]->channels / op->heads, right_width = c->in[1]->channels / op->heads, columns = c->out->channels / op->heads;
    int64_t rows = op->transpose_left ? left_width : left, terms = op->transpose_left ? left : left_width;
    int fits = rows == ds2ta_tokens(c->out) && terms == (op->transpose_right ? right_width : right) &&
               columns == (op->transpose_right ? right : right_width);
    if (!fits) return "multiplies what does not fit";
    if (terms > DS2TA_MAX_ROWS) return "adds up too many products";
    return terms * (columns + DS2TA_TILE) + 2 * rows * terms <= DS2TA_MAX_ROOM ? NULL : "has too large a product for one head";
}

static const char *check_one(const context *c) {
    const ds2ta_op *op = c->op;
    if (!same_shape(c, 0)) return "changes the shape of its input";
    int weighed = op->entries >= steps_of(c, c->out) && op->entries <= DS2TA_MAX_WEIGHED;
    if (op->kind == DS2TA_COMPARE) return op->threshold && c->out->planes && weighed ? NULL : "makes no spikes";
    if (c->out->planes) return "makes no stream";
    if (op->kind == DS2TA_WINDOW) return good_window(op) ? NULL : "has a window out of range";
    if (op->kind == DS2TA_TIME_MIX) return op->table && weighed ? NULL : "has no matrix";
    return op->table && divides(op->heads, c->out->channels) && op->entries >= 1 && op->entries <= 1 << 16 ? NULL : "has no table";
}

const char *ds2ta_check_stream(int steps, const ds2ta_value *values, const ds2ta_op *op) {
    context c = {steps, op, {values + op->inputs[0], op->kind == DS2TA_SUM || op->kind == DS2TA_MULTIPLY || op->kind == DS2TA_MATMUL
                                                                   ? values + op->inputs[1] : NULL}, values + op->output};
    switch (op->kind) {
    case DS2TA_NEURON: return check_neuron(&c);
    case DS2TA_SUM: return same_shape(&c, 0) && same_shape(&c, 1) ? NULL : "adds values of different shapes";
    case DS2TA_MULTIPLY: return check_multiply(&c);
    case DS2TA_MAXIMUM: return check_maximum(&c);
    case DS2TA_REDUCE: return check_reduce(&c);
    case DS2TA_MATMUL: return check_matmul(&c);
    default: return check_one(&c);
    }
}
