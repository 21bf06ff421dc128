/* The kernels of sums of subsets, one by one. */
#ifndef DS2TA_TEST_SUBSETS_H
#define DS2TA_TEST_SUBSETS_H

#include "kernels.h"

/* Whether they make the plain ones' sums, spikes and rows of any weights and patterns, and read no byte behind the patterns; of no
 * kernels, nothing is asked. */
int compare_subsets(const ds2ta_subsets *kernels);

#endif
