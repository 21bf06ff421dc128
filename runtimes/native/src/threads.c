/* A pool of threads that run one function at once and meet at barriers. Waiting at a barrier spins a little, then sleeps;
 * waiting for work sleeps. */
#if defined(__linux__)
#define _GNU_SOURCE
#include <sched.h>
#endif

#include "plan.h"

#include <pthread.h>
#include <stdlib.h>

/* Looks before a waiting thread gives its core away: about as long as the shares of an operation differ. Where threads are more than
 * cores, there is none, because one of the others waits for that core. */
enum { SPINS = 20000 };

struct ds2ta_threads {
    int count, spins;
    int core; /* on which someone last woke the others, guarded by the lock */
    pthread_t *threads;
    pthread_mutex_t lock;
    pthread_cond_t wake;   /* there is work */
    pthread_cond_t gather; /* all have arrived */
    unsigned turn; /* of work, guarded by the lock */
    int ends;
    void (*work)(void *, int);
    void *argument;
    int arrived;      /* at the barrier */
    unsigned meeting; /* number of the barrier's turn, changed under the lock */
};

typedef struct {
    struct ds2ta_threads *pool;
    int index;
} member;

#if defined(__linux__)
static int this_core(void) { return sched_getcpu(); }

static int core_count(void) {
    cpu_set_t cores;
    return sched_getaffinity(0, sizeof cores, &cores) ? 1 : CPU_COUNT(&cores);
}

/* A thread that is woken is often put on the core of whoever wakes it, who goes on working there: they would take turns on one core
 * for milliseconds, while others idle. It leaves that core, and may be put anywhere again afterwards. */
static void step_aside(int core) {
    cpu_set_t all, others;
    if (core < 0 || this_core() != core || sched_getaffinity(0, sizeof all, &all)) return;
    others = all;
    CPU_CLR((size_t)core, &others);
    if (CPU_COUNT(&others) && !sched_setaffinity(0, sizeof others, &others)) sched_setaffinity(0, sizeof all, &all);
}
#else
static int this_core(void) { return -1; }
static int core_count(void) { return DS2TA_MAX_THREADS; }
static void step_aside(int core) { (void)core; }
#endif

static void pause_a_little(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void ds2ta_threads_meet(struct ds2ta_threads *pool) {
    if (!pool) return;
    unsigned meeting = __atomic_load_n(&pool->meeting, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&pool->arrived, 1, __ATOMIC_ACQ_REL) == pool->count) {
        __atomic_store_n(&pool->arrived, 0, __ATOMIC_RELAXED);
        pthread_mutex_lock(&pool->lock);
        __atomic_store_n(&pool->meeting, meeting + 1, __ATOMIC_RELEASE);
        pool->core = this_core();
        pthread_cond_broadcast(&pool->gather);
        pthread_mutex_unlock(&pool->lock);
        return;
    }
    for (int spins = 0; spins < pool->spins; spins++) {
        if (__atomic_load_n(&pool->meeting, __ATOMIC_ACQUIRE) != meeting) return;
        pause_a_little();
    }
    pthread_mutex_lock(&pool->lock);
    while (__atomic_load_n(&pool->meeting, __ATOMIC_ACQUIRE) == meeting) pthread_cond_wait(&pool->gather, &pool->lock);
    int core = pool->core;
    pthread_mutex_unlock(&pool->lock);
    step_aside(core);
}

static void *serve(void *argument) {
    member self = *(member *)argument;
    free(argument);
    struct ds2ta_threads *pool = self.pool;
    for (unsigned seen = 0;;) {
        pthread_mutex_lock(&pool->lock);
        while (pool->turn == seen && !pool->ends) pthread_cond_wait(&pool->wake, &pool->lock);
        seen = pool->turn;
        int ends = pool->ends, core = pool->core;
        pthread_mutex_unlock(&pool->lock);
        if (ends) return NULL;
        step_aside(core);
        pool->work(pool->argument, self.index);
        ds2ta_threads_meet(pool);
    }
}

struct ds2ta_threads *ds2ta_threads_new(int count) {
    struct ds2ta_threads *pool = calloc(1, sizeof *pool);
    if (!pool) return NULL;
    pool->threads = calloc((size_t)count, sizeof *pool->threads);
    pool->count = 1;
    pool->spins = count > core_count() ? 0 : SPINS;
    if (!pool->threads || pthread_mutex_init(&pool->lock, NULL)) {
        free(pool->threads), free(pool);
        return NULL;
    }
    int wake = !pthread_cond_init(&pool->wake, NULL), gather = !pthread_cond_init(&pool->gather, NULL);
    if (!wake || !gather) {
        if (wake) pthread_cond_destroy(&pool->wake);
        if (gather) pthread_cond_destroy(&pool->gather);
        pthread_mutex_destroy(&pool->lock);
        free(pool->threads), free(pool);
        return NULL;
    }
    while (pool->count < count) {
        member *self = malloc(sizeof *self);
        if (self) *self = (member){pool, pool->count};
        if (!self || pthread_create(&pool->threads[pool->count], NULL, serve, self)) {
            free(self);
            ds2ta_threads_free(pool);
            return NULL;
        }
        pool->count++;
    }
    return pool;
}

void ds2ta_threads_free(struct ds2ta_threads *pool) {
    if (!pool) return;
    pthread_mutex_lock(&pool->lock);
    pool->ends = 1;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 1; i < pool->count; i++) pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->gather);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool->threads);
    free(pool);
}

void ds2ta_threads_run(struct ds2ta_threads *pool, void (*work)(void *, int), void *argument) {
    if (!pool) {
        work(argument, 0);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->work = work;
    pool->argument = argument;
    pool->turn++;
    pool->core = this_core();
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    work(argument, 0);
    ds2ta_threads_meet(pool);
}
