/* The self-test as a program of a machine that has an operating system. */
#include <stdio.h>

#include "selftest.h"

void selftest_write(const char text[])
{
    (void)fputs(text, stdout);
}

int main(void)
{
    return selftest();
}
