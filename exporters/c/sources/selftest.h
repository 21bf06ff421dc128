/*
 * The self-test: runs the golden samples and compares.
 *
 * Provide selftest_write for your board (a serial line, semihosting), call selftest, and look at what it writes or returns.
 * Compiled with DS2TA_TRACE, together with a model.c compiled so, it compares every value of the first sample and names the
 * first that differs; without, the logits of all samples.
 */
#ifndef DS2TA_SELFTEST_H
#define DS2TA_SELFTEST_H

#include <stdint.h>

/* Writes a text; yours. */
void selftest_write(const char text[]);

/* Runs the test; 0: PASS. */
int selftest(void);

/* What is known of one value: its elements, packed, or at least a checksum over them in memory order. */
typedef struct {
    const char *name;
    uint32_t checksum;
    uint32_t elements; /* of a time step; 0: nothing is known, the value has no name of its own */
    uint32_t bits;     /* of a packed element: 1, 2, 4, 8, 16, 32; 0: there is a checksum only */
    uint32_t packed;   /* where its first byte is */
    int32_t least;     /* what a packed zero stands for */
    uint32_t axes;     /* 1 to 3 */
    uint32_t sizes[3]; /* in memory order, the slowest first */
    uint32_t axis[3];  /* which axis of the value that is */
} selftest_value;

#endif
