#ifndef DS2TA_TEST_SORTS_H
#define DS2TA_TEST_SORTS_H

#include <stddef.h>

/* Whether an instruction set sorts channels by pattern as the scalar kernel does; adds up how many are listed. */
int sorts_equal(const char *isa, size_t *listed);

#endif
