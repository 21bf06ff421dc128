/* A pool of threads that run one function at once and meet at barriers. Waiting at a barrier spins a little, then yields;
 * waiting for work sleeps. */
#include "plan.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

/* Looks before a waiting thread gives its core away. */
enum { SPINS = 2000 };

struct ds2ta_threads {
    int count;
    pthread_t *threads;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    unsigned turn; /* of work, guarded by the lock */
    int ends;
    void (*work)(void *, int);
    void *argument;
    int arrived;      /* at the barrier */
    unsigned meeting; /* number of the barrier's turn */
};

typedef struct {
    struct ds2ta_threads *pool;
    int index;
} member;

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
        __atomic_store_n(&pool->meeting, meeting + 1, __ATOMIC_RELEASE);
        return;
    }
    for (int spins = 0; __atomic_load_n(&pool->meeting, __ATOMIC_ACQUIRE) == meeting; spins++)
        if (spins < SPINS)
            pause_a_little();
        else
            sched_yield();
}

static void *serve(void *argument) {
    member self = *(member *)argument;
    free(argument);
    struct ds2ta_threads *pool = self.pool;
    for (unsigned seen = 0;;) {
        pthread_mutex_lock(&pool->lock);
        while (pool->turn == seen && !pool->ends) pthread_cond_wait(&pool->wake, &pool->lock);
        seen = pool->turn;
        int ends = pool->ends;
        pthread_mutex_unlock(&pool->lock);
        if (ends) return NULL;
        pool->work(pool->argument, self.index);
        ds2ta_threads_meet(pool);
    }
}

struct ds2ta_threads *ds2ta_threads_new(int count) {
    struct ds2ta_threads *pool = calloc(1, sizeof *pool);
    if (!pool) return NULL;
    pool->threads = calloc((size_t)count, sizeof *pool->threads);
    pool->count = 1;
    if (!pool->threads || pthread_mutex_init(&pool->lock, NULL)) {
        free(pool->threads), free(pool);
        return NULL;
    }
    if (pthread_cond_init(&pool->wake, NULL)) {
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
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    work(argument, 0);
    ds2ta_threads_meet(pool);
}
