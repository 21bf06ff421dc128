/* What the self-test needs of a board: a start, words through the debugger (semihosting), an end. The same on Arm and RISC-V. */
#include <stddef.h>
#include <stdint.h>

#include "selftest.h"

enum { SYS_WRITE0 = 0x04, SYS_EXIT_EXTENDED = 0x20, APPLICATION_EXIT = 0x20026 };

static const uint32_t untouched = 0xA5A5A5A5u;

extern uint32_t bss_begin[], bss_end[], data_begin[], data_end[], data_stored[], stack_bottom[], stack_top[];

#if defined(__arm__)

static uintptr_t debugger(uintptr_t operation, const void *argument)
{
    register uintptr_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static uint32_t *stack_now(void)
{
    uint32_t *now;
    __asm__ volatile("mov %0, sp" : "=r"(now));
    return now;
}

void start(void);

/* A Cortex-M begins with these: where its stack is, and what to run. */
__attribute__((section(".vectors"), used)) static void (*const vectors[2])(void) = {(void (*)(void))(uintptr_t)stack_top, start};

#elif defined(__riscv)

static uintptr_t debugger(uintptr_t operation, const void *argument)
{
    register uintptr_t a0 __asm__("a0") = operation;
    register const void *a1 __asm__("a1") = argument;
    __asm__ volatile(".option push\n.option norvc\n.balign 16\nslli zero, zero, 0x1f\nebreak\nsrai zero, zero, 7\n.option pop"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
    return a0;
}

static uint32_t *stack_now(void)
{
    uint32_t *now;
    __asm__ volatile("mv %0, sp" : "=r"(now));
    return now;
}

void start(void);

/* A RISC-V processor begins without a stack. */
__attribute__((section(".vectors"), naked, used)) void begin(void)
{
    __asm__ volatile("la sp, stack_top\nj start");
}

#else
#error "there is no port to this processor"
#endif

/* The compiler may ask for these four; a board without a C library has them from here. */
void *memcpy(void *to, const void *from, size_t count)
{
    for (size_t i = 0u; i < count; i++) {
        ((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
    }
    return to;
}

void *memmove(void *to, const void *from, size_t count)
{
    if ((uintptr_t)to <= (uintptr_t)from) {
        return memcpy(to, from, count);
    }
    for (size_t i = count; i > 0u; i--) {
        ((uint8_t *)to)[i - 1u] = ((const uint8_t *)from)[i - 1u];
    }
    return to;
}

void *memset(void *to, int value, size_t count)
{
    for (size_t i = 0u; i < count; i++) {
        ((uint8_t *)to)[i] = (uint8_t)value;
    }
    return to;
}

int memcmp(const void *left, const void *right, size_t count)
{
    int difference = 0;
    for (size_t i = 0u; (i < count) && (difference == 0); i++) {
        difference = (int)((const uint8_t *)left)[i] - (int)((const uint8_t *)right)[i];
    }
    return difference;
}

void selftest_write(const char text[])
{
    (void)debugger(SYS_WRITE0, text);
}

static void write_count(const char before[], uint32_t count, const char after[])
{
    char text[11];
    uint32_t place = 10u;
    text[place] = '\0';
    do {
        place--;
        text[place] = (char)('0' + (char)(count % 10u));
        count /= 10u;
    } while (count != 0u);
    selftest_write(before);
    selftest_write(&text[place]);
    selftest_write(after);
}

void start(void)
{
    uint32_t *const unused_end = stack_now() - 64;
    for (uint32_t *word = bss_begin; word < bss_end; word++) {
        *word = 0u;
    }
    for (uint32_t *word = data_begin; word < data_end; word++) {
        *word = data_stored[word - data_begin];
    }
    for (uint32_t *word = stack_bottom; word < unused_end; word++) {
        *word = untouched;
    }
    const int result = selftest();
    const uint32_t *deepest = stack_bottom;
    while (*deepest == untouched) {
        deepest++;
    }
    write_count("stack: ", (uint32_t)((uintptr_t)stack_top - (uintptr_t)deepest), " bytes at most, the self-test's own included\n");
    const uintptr_t end[2] = {APPLICATION_EXIT, (uintptr_t)result};
    (void)debugger(SYS_EXIT_EXTENDED, end);
    for (;;) {
    }
}
