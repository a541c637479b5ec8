/* Every call of the shim, on several ranks, against what it should give. Run by mpirun; prints a hash of the sums at rank 0. */
#include "craft_mpi.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int rank, size;
static const craft_mpi_functions *mpi;

static void must(int code, const char *what) {
    if (!code) return;
    fprintf(stderr, "rank %d: %s: %s\n", rank, what, mpi->error());
    mpi->abort(3);
    exit(3);
}

static void expect(int condition, const char *what) {
    if (condition) return;
    fprintf(stderr, "rank %d: %s\n", rank, what);
    mpi->abort(4);
    exit(4);
}

/* What rank r has at place i: values that round when they are added in float32. */
static float value(int r, int64_t i) { return (float)(i * 2654435761u % 1000003) / 7.0f + (float)r * 1e-3f; }

static float total(int64_t i) {
    double sum = 0;
    for (int r = 0; r < size; r++) sum += value(r, i);
    return (float)sum;
}

/* Segments of many lengths, in turns, with gaps. */
static int64_t cut(int64_t count, int64_t longest, craft_mpi_segment *segments) {
    int64_t n = 0;
    for (int64_t at = 0, k = 0; at < count; k++) {
        int64_t length = 1 + k * 7919 % longest;
        if (length > count - at) length = count - at;
        if (k % 5 != 4) segments[n] = (craft_mpi_segment){at, length, n % size}, n++;
        at += length;
    }
    return n;
}

static uint64_t exchange(int64_t count, int64_t longest) {
    craft_mpi_segment *segments = malloc((size_t)count * sizeof *segments);
    float *values = malloc((size_t)count * sizeof *values), *copy = calloc((size_t)count, sizeof *copy);
    int64_t n = cut(count, longest, segments);
    for (int64_t i = 0; i < count; i++) values[i] = value(rank, i);
    must(mpi->reduce("reduce", values, segments, n), "reduce");
    int64_t in = 0;
    for (int64_t i = 0; i < count; i++) {
        while (in < n && i >= segments[in].offset + segments[in].count) in++;
        int mine = in < n && i >= segments[in].offset && segments[in].owner == rank;
        expect(values[i] == (mine ? total(i) : value(rank, i)), "a sum is wrong, or a value was changed that is not its owner's");
    }
    must(mpi->collect("collect", values, rank ? NULL : copy, segments, n), "collect");
    must(mpi->share("share", values, segments, n), "share");
    uint64_t hash = 0xcbf29ce484222325u;
    for (int64_t s = 0; s < n; s++)
        for (int64_t i = segments[s].offset; i < segments[s].offset + segments[s].count; i++) {
            uint32_t bits;
            expect(values[i] == total(i), "a shared value is wrong");
            expect(rank || copy[i] == total(i), "a collected value is wrong");
            memcpy(&bits, values + i, 4);
            hash = (hash ^ bits) * 0x100000001b3u;
        }
    free(segments), free(values), free(copy);
    return hash;
}

static void gather(uint64_t most) {
    char *mine = malloc(most + 1);
    uint64_t *lengths = malloc((size_t)size * sizeof *lengths), at = 0;
    const void *all = NULL;
    /* Nothing, or more than travels at a time. */
    uint64_t length = most * (uint64_t)(rank + 1) / (uint64_t)size * (rank % 3 != 1);
    memset(mine, 'a' + rank, length);
    must(mpi->gather("gather", 0, mine, length, lengths, &all), "gather");
    for (int r = 0; r < size; r++) {
        expect(lengths[r] == most * (uint64_t)(r + 1) / (uint64_t)size * (r % 3 != 1), "a length is wrong");
        for (uint64_t i = 0; i < lengths[r]; i++) expect(((const char *)all)[at + i] == 'a' + r, "a byte is wrong");
        at += lengths[r];
    }
    free(mine), free(lengths);
}

int main(int argc, char **argv) {
    mpi = craft_mpi();
    must(mpi->start(argc > 2 ? atof(argv[2]) : 60, &rank, &size), "start");
    if (argc > 1 && !strcmp(argv[1], "hang")) {
        gather(10);
        if (rank == size - 1) sleep(60);
        gather(10);
    }
    if (argc > 1 && !strcmp(argv[1], "step")) {
        const void *all;
        uint64_t *lengths = malloc((size_t)size * sizeof *lengths);
        must(mpi->gather(rank ? "step 2" : "step 1", 0, "", 0, lengths, &all), "gather");
    }
    gather(0), gather(100), gather(40 << 20);
    uint64_t hash = exchange(1, 10) ^ exchange(100003, 50) ^ exchange(3000017, 70000) ^ exchange(6000007, 5000011);
    uint64_t bytes;
    double seconds;
    mpi->usage(&bytes, &seconds);
    if (rank == 0) printf("hash %016llx, %s, %llu bytes\n", (unsigned long long)hash, mpi->library(), (unsigned long long)bytes);
    must(mpi->finish(), "finish");
    return 0;
}
