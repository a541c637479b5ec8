/* What craft asks of MPI. craft opens libcraft_mpi.so with dlopen when a launcher has started it on several ranks, and links
 * to no MPI itself: an MPI library has no common binary interface before MPI 5, so this is compiled against the one in use.
 *
 *     mpicc -O3 -shared -fPIC craft_mpi.c -o libcraft_mpi.so
 *
 * Calls return 0, or another number whose sentence is error(). One thread at a time may call (MPI_THREAD_SERIALIZED). All ranks
 * make the same calls in the same order; `phase` says what for ("step 12: losses") and is named when a rank is missing.
 */
#pragma once
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CRAFT_MPI_ABI 1

/* A range of a buffer that one rank owns: the values from `offset` on, `count` of them. */
typedef struct {
    int64_t offset, count, owner;
} craft_mpi_segment;

typedef struct {
    uint32_t abi; /* CRAFT_MPI_ABI; nothing else is read of another one. */

    /* Starts MPI. `stall_seconds`: how long a rank is waited for at least; 0: for ever. */
    int (*start)(double stall_seconds, int *rank, int *size);
    /* "Open MPI v4.1.4, ...": from start on. */
    const char *(*library)(void);
    const char *(*error)(void);

    /* Every rank's bytes at every rank. `lengths`: [size]. `*all`: one rank's after the other's, valid until the next call.
     * `patience`: seconds that a rank is waited for at least, where that is more than the limit. */
    int (*gather)(const char *phase, double patience, const void *bytes, uint64_t length, uint64_t *lengths, const void **all);
    /* In place: each segment becomes, at its owner, the sum over the ranks, added in order of the ranks in float64. Elsewhere
     * it stays as it is. */
    int (*reduce)(const char *phase, float *values, const craft_mpi_segment *segments, int64_t count);
    /* In place: each segment becomes, at every rank, what its owner has. */
    int (*share)(const char *phase, float *values, const craft_mpi_segment *segments, int64_t count);
    /* The same at rank 0 alone, into `target`, laid out as `values`; NULL at the others. */
    int (*collect)(const char *phase, const float *values, float *target, const craft_mpi_segment *segments, int64_t count);

    /* Bytes that this rank has sent of float32 values, and seconds that it has spent in calls. */
    void (*usage)(uint64_t *bytes, double *seconds);
    /* Ends the processes of all ranks. */
    void (*abort)(int code);
    int (*finish)(void);
} craft_mpi_functions;

const craft_mpi_functions *craft_mpi(void);

#ifdef __cplusplus
}
#endif
