#include <stddef.h>

/* Hidden without _GNU_SOURCE. Writes a bit for each processor that the process may run on. */
extern int sched_getaffinity(int process, size_t size, void *mask);
