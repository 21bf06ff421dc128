#include "memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void *aligned(size_t size) {
    void *memory = NULL;
    if (posix_memalign(&memory, 64, size)) exit(2);
    return memset(memory, 0, size);
}

static size_t pages_of(size_t size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (size + page - 1) / page * page;
}

uint8_t *before_a_wall(size_t size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = pages_of(size);
    uint8_t *memory = mmap(NULL, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory + whole, page, PROT_NONE)) exit(2);
    return memory + whole - size;
}

void free_walled(uint8_t *memory, size_t size) {
    munmap(memory + size - pages_of(size), pages_of(size) + (size_t)sysconf(_SC_PAGESIZE));
}
