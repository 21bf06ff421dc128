/* Memory for the tests of single kernels. */
#ifndef DS2TA_TEST_MEMORY_H
#define DS2TA_TEST_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* Zeros aligned to a register; the caller's to free. */
void *aligned(size_t size);

/* `size` bytes behind which a page begins that nobody may read, and giving them back. */
uint8_t *before_a_wall(size_t size);
void free_walled(uint8_t *memory, size_t size);

#endif
