/* craft's ranks over MPI; see craft_mpi.h. The exchange is our own, pairs of Irecv and Isend: the library's reductions add in
 * an order that depends on the library, the transport and the sizes, and are slower. */
#include "craft_mpi.h"
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { STAGE_BYTES = 32 << 20, TAG_VALUES = 1, TAG_HEADER = 2, TAG_BYTES = 3, TEXT = 160, BLOCK = 1024 };

typedef struct {
    char phase[TEXT];
    uint64_t length;
} header;

static MPI_Comm world = MPI_COMM_NULL;
static int rank = 0, size = 1, sleep_us = 100;
static double stall = 60, left_last = 0, limit = 60, seconds_inside = 0;
static uint64_t bytes_sent = 0;
static char library_text[MPI_MAX_LIBRARY_VERSION_STRING], error_text[1024];
static char (*hosts)[64];
/* What each rank was doing when rank 0 heard of it last; this rank's own elsewhere. */
static char (*heard)[TEXT];
/* What gather gives out. */
static char *gathered = NULL;
static uint64_t gathered_room = 0;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const char *host(int r) { return hosts ? hosts[r] : "?"; }

static int fail(const char *phase, const char *what) {
    snprintf(error_text, sizeof error_text, "rank %d on %s, %s: %s", rank, host(rank), phase, what);
    return -1;
}

static int check(int code, const char *phase, const char *call) {
    if (code == MPI_SUCCESS) return 0;
    char text[MPI_MAX_ERROR_STRING] = "", sentence[MPI_MAX_ERROR_STRING + 128];
    int length = 0;
    MPI_Error_string(code, text, &length);
    snprintf(sentence, sizeof sentence, "%s failed: %s", call, text);
    return fail(phase, sentence);
}
#define TRY(call) \
    do { \
        int code_ = check((call), phase, #call); \
        if (code_) return code_; \
    } while (0)

/* A call begins: how long others are waited for grows with how long this rank has been computing. */
static double enter(const char *phase, double patience) {
    double t = now();
    snprintf(heard[rank], TEXT, "%s", phase);
    limit = stall;
    if (stall > 0 && 4 * (t - left_last) > limit) limit = 4 * (t - left_last);
    if (stall > 0 && patience > limit) limit = patience;
    return t;
}

static int leave(double entered, int code) {
    left_last = now();
    seconds_inside += left_last - entered;
    return code;
}

/* A rank has not come. The first of those whose request is open is named. */
static int missing(const char *phase, int count, MPI_Request *requests, const int *peers, double waited) {
    int who = -1;
    for (int i = 0; i < count && who < 0; i++) {
        int done = 0;
        if (requests[i] == MPI_REQUEST_NULL) continue;
        if (MPI_Test(requests + i, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && !done) who = peers ? peers[i] : 0;
    }
    if (who < 0) return 0;
    if (rank == 0)
        snprintf(error_text, sizeof error_text,
                 "rank %d on %s has not come to '%s' for %.0f s: it hangs, or is far slower than the others; it was last heard "
                 "of in '%s'", who, host(who), phase, waited, heard[who][0] ? heard[who] : "the start");
    else
        snprintf(error_text, sizeof error_text, "rank %d on %s has waited %.0f s in '%s' for rank %d on %s, which hangs", rank,
                 host(rank), waited, phase, who, host(who));
    return -1;
}

/* Polls for a while and then sleeps between polls, which leaves the core to threads that compute. `peers`: whose each request
 * is. Others than rank 0 wait longer: rank 0 knows better who is missing. */
static int wait_all(const char *phase, int count, MPI_Request *requests, const int *peers) {
    double start = now();
    for (int polls = 0, done = 0;; polls++) {
        TRY(MPI_Testall(count, requests, &done, MPI_STATUSES_IGNORE));
        if (done) return 0;
        if (polls > 200 && sleep_us) usleep((useconds_t)sleep_us);
        if ((polls & 255) != 255) continue;
        double waited = now() - start;
        if (waited > 1) usleep(500); /* nobody is that late for the network's sake */
        if (limit > 0 && waited > limit * (rank ? 1.25 : 1)) {
            int code = missing(phase, count, requests, peers, waited);
            if (code) return code;
        }
    }
}

/* MARK: - Start and end */

static const char *library(void) { return library_text; }
static const char *error(void) { return error_text; }

static int start(double stall_seconds, int *my_rank, int *its_size) {
    const char *phase = "start";
    int given = 0, length = 0;
    limit = stall = stall_seconds;
    TRY(MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &given));
    if (given < MPI_THREAD_SERIALIZED) return fail(phase, "this MPI library allows no calls from a second thread");
    TRY(MPI_Comm_dup(MPI_COMM_WORLD, &world));
    TRY(MPI_Comm_set_errhandler(world, MPI_ERRORS_RETURN));
    TRY(MPI_Comm_rank(world, &rank));
    TRY(MPI_Comm_size(world, &size));
    MPI_Get_library_version(library_text, &length);
    char name[64] = "";
    gethostname(name, sizeof name - 1);
    hosts = calloc((size_t)size, sizeof *hosts);
    heard = calloc((size_t)size, sizeof *heard);
    if (!hosts || !heard) return fail(phase, "no memory");
    const char *us = getenv("CRAFT_MPI_SLEEP_US");
    if (us) sleep_us = atoi(us);
    TRY(MPI_Allgather(name, sizeof name, MPI_CHAR, hosts, sizeof name, MPI_CHAR, world));
    left_last = now();
    *my_rank = rank;
    *its_size = size;
    return 0;
}

static void usage(uint64_t *bytes, double *seconds) {
    *bytes = bytes_sent;
    *seconds = seconds_inside;
}

static void abort_all(int code) { MPI_Abort(MPI_COMM_WORLD, code); }

static int finish(void) {
    const char *phase = "end";
    int was = 0;
    MPI_Finalized(&was);
    if (was) return 0;
    free(gathered), free(hosts), free(heard);
    gathered = NULL, hosts = NULL, heard = NULL, gathered_room = 0;
    TRY(MPI_Comm_free(&world));
    return check(MPI_Finalize(), phase, "MPI_Finalize");
}

/* MARK: - Small messages */

static int broadcast(const char *phase, void *bytes, uint64_t length) {
    for (uint64_t done = 0; done < length; done += STAGE_BYTES) {
        MPI_Request request;
        uint64_t part = length - done < STAGE_BYTES ? length - done : STAGE_BYTES;
        TRY(MPI_Ibcast((char *)bytes + done, (int)part, MPI_BYTE, 0, world, &request));
        int code = wait_all(phase, 1, &request, NULL);
        if (code) return code;
    }
    return 0;
}

/* Rank 0 has heard of everybody: whoever is missing is missing there, and is known by name. */
static int hear_all(const char *phase, uint64_t *lengths, MPI_Request *requests, int *peers, header *headers) {
    for (int r = 1; r < size; r++) {
        peers[r - 1] = r;
        TRY(MPI_Irecv(headers + r, sizeof *headers, MPI_BYTE, r, TAG_HEADER, world, requests + r - 1));
    }
    int code = wait_all(phase, size - 1, requests, peers);
    if (code) return code;
    for (int r = 1; r < size; r++) {
        headers[r].phase[TEXT - 1] = 0;
        memcpy(heard[r], headers[r].phase, TEXT);
        if (strcmp(heard[r], heard[0])) {
            snprintf(error_text, sizeof error_text,
                     "rank %d on %s is in '%s' while rank 0 is in '%s': the ranks are not in step", r, host(r), heard[r], heard[0]);
            return -1;
        }
        lengths[r] = headers[r].length;
    }
    return 0;
}

static int gather_at_root(const char *phase, const void *bytes, uint64_t length, uint64_t *lengths) {
    MPI_Request *requests = malloc((size_t)size * sizeof *requests);
    int *peers = malloc((size_t)size * sizeof *peers);
    header *headers = calloc((size_t)size, sizeof *headers);
    int code = requests && peers && headers ? hear_all(phase, lengths, requests, peers, headers) : fail(phase, "no memory");
    lengths[0] = length;
    uint64_t total = 0;
    for (int r = 0; !code && r < size; r++) total += lengths[r];
    if (!code && total > gathered_room) {
        free(gathered);
        gathered = malloc(gathered_room = total);
        if (!gathered) code = fail(phase, "no memory");
    }
    uint64_t at = length;
    int count = 0;
    if (!code && length) memcpy(gathered, bytes, length);
    for (int r = 1; !code && r < size; at += lengths[r], r++) {
        for (uint64_t done = 0; !code && done < lengths[r]; done += STAGE_BYTES) {
            uint64_t part = lengths[r] - done < STAGE_BYTES ? lengths[r] - done : STAGE_BYTES;
            if (lengths[r] > STAGE_BYTES) { /* rare, and one at a time */
                MPI_Request request;
                code = check(MPI_Irecv(gathered + at + done, (int)part, MPI_BYTE, r, TAG_BYTES, world, &request), phase, "MPI_Irecv");
                if (!code) code = wait_all(phase, 1, &request, &r);
            } else {
                peers[count] = r;
                code = check(MPI_Irecv(gathered + at, (int)part, MPI_BYTE, r, TAG_BYTES, world, requests + count++), phase, "MPI_Irecv");
            }
        }
    }
    if (!code) code = wait_all(phase, count, requests, peers);
    free(requests), free(peers), free(headers);
    return code;
}

static int send_to_root(const char *phase, const void *bytes, uint64_t length) {
    header mine = {.length = length};
    MPI_Request requests[2];
    int count = 1;
    memcpy(mine.phase, heard[rank], TEXT);
    TRY(MPI_Isend(&mine, sizeof mine, MPI_BYTE, 0, TAG_HEADER, world, requests));
    int code = 0;
    for (uint64_t done = 0; !code && done < length; done += STAGE_BYTES) {
        uint64_t part = length - done < STAGE_BYTES ? length - done : STAGE_BYTES;
        code = check(MPI_Isend((const char *)bytes + done, (int)part, MPI_BYTE, 0, TAG_BYTES, world, requests + 1), phase, "MPI_Isend");
        count = 2;
        if (!code) code = wait_all(phase, count, requests, NULL);
    }
    return code ? code : wait_all(phase, count, requests, NULL);
}

static int gather(
    const char *phase, double patience, const void *bytes, uint64_t length, uint64_t *lengths, const void **all) {
    double entered = enter(phase, patience);
    int code = rank ? send_to_root(phase, bytes, length) : gather_at_root(phase, bytes, length, lengths);
    if (!code) code = broadcast(phase, lengths, (uint64_t)size * sizeof *lengths);
    uint64_t total = 0;
    for (int r = 0; !code && r < size; r++) total += lengths[r];
    if (!code && total > gathered_room) {
        free(gathered);
        gathered = malloc(gathered_room = total);
        if (!gathered) code = fail(phase, "no memory");
    }
    if (!code) code = broadcast(phase, gathered, total);
    *all = gathered;
    return leave(entered, code);
}

/* MARK: - Values */

typedef struct {
    int64_t offset, count;
    int owner;
} item;

typedef struct {
    item *items;
    int64_t count;
    /* Most values of one owner that travel at a time. */
    int64_t room;
} plan;

/* Cuts segments so that what an owner gets at a time fits into half of the stage. */
static int make_plan(const char *phase, const craft_mpi_segment *segments, int64_t count, plan *made) {
    int64_t others = size > 1 ? size - 1 : 1, room = STAGE_BYTES / 2 / (int64_t)sizeof(float) / others, items = 0;
    room = room < BLOCK ? BLOCK : room;
    for (int64_t s = 0; s < count; s++) items += (segments[s].count + room - 1) / room;
    *made = (plan){malloc((size_t)(items ? items : 1) * sizeof(item)), 0, room};
    if (!made->items) return fail(phase, "no memory");
    for (int64_t s = 0; s < count; s++)
        for (int64_t at = 0; at < segments[s].count; at += room) {
            int64_t rest = segments[s].count - at;
            made->items[made->count++] = (item){segments[s].offset + at, rest < room ? rest : room, (int)segments[s].owner};
        }
    return 0;
}

/* The item behind the last that travels together with `first`. `sums`: [size]. */
static int64_t batch_end(const plan *p, int64_t first, int64_t *sums) {
    memset(sums, 0, (size_t)size * sizeof *sums);
    int64_t end = first;
    for (; end < p->count && end - first < 4096; end++) {
        const item *i = p->items + end;
        if (sums[i->owner] + i->count > p->room) break;
        sums[i->owner] += i->count;
    }
    return end;
}

typedef struct {
    MPI_Request *requests;
    int *peers;
    int count, room;
} flight;

static int grow(const char *phase, flight *f) {
    if (f->count < f->room) return 0;
    int room = f->room ? 2 * f->room : 256;
    MPI_Request *requests = realloc(f->requests, (size_t)room * sizeof *requests);
    if (requests) f->requests = requests;
    int *peers = realloc(f->peers, (size_t)room * sizeof *peers);
    if (peers) f->peers = peers;
    if (!requests || !peers) return fail(phase, "no memory");
    f->room = room;
    return 0;
}

static int receive(const char *phase, flight *f, float *target, int64_t count, int from) {
    int code = grow(phase, f);
    if (code) return code;
    f->peers[f->count] = from;
    TRY(MPI_Irecv(target, (int)count, MPI_FLOAT, from, TAG_VALUES, world, f->requests + f->count));
    f->count++;
    return 0;
}

static int send(const char *phase, flight *f, const float *values, int64_t count, int to) {
    int code = grow(phase, f);
    if (code) return code;
    f->peers[f->count] = to;
    TRY(MPI_Isend(values, (int)count, MPI_FLOAT, to, TAG_VALUES, world, f->requests + f->count));
    f->count++;
    bytes_sent += (uint64_t)count * sizeof(float);
    return 0;
}

static int land(const char *phase, flight *f) {
    int code = f->count ? wait_all(phase, f->count, f->requests, f->peers) : 0;
    f->count = 0;
    return code;
}

/* values[i] = the sum over the ranks in their order; `others`: those of the other ranks in order, `stride` apart. */
static void add_in_order(float *restrict values, const float *restrict others, int64_t stride, int64_t count) {
    double sum[BLOCK];
    for (int64_t start = 0; start < count; start += BLOCK) {
        int64_t n = count - start < BLOCK ? count - start : BLOCK;
        for (int r = 0, other = 0; r < size; r++) {
            const float *piece = r == rank ? values + start : others + stride * other++ + start;
            if (r == 0)
                for (int64_t i = 0; i < n; i++) sum[i] = piece[i];
            else
                for (int64_t i = 0; i < n; i++) sum[i] += piece[i];
        }
        for (int64_t i = 0; i < n; i++) values[start + i] = (float)sum[i];
    }
}

/* Two sets of receive buffers: one batch is on its way while the one before is added. */
static int reduce(const char *phase, float *values, const craft_mpi_segment *segments, int64_t count) {
    double entered = enter(phase, 0);
    plan p;
    int code = make_plan(phase, segments, count, &p);
    if (code) return leave(entered, code);
    int64_t stride = p.room, others = size - 1, first[2] = {0, 0}, end[2] = {0, 0};
    float *stage = malloc((size_t)(2 * stride * others) * sizeof *stage + 1);
    int64_t *sums = malloc((size_t)size * sizeof *sums);
    flight flights[2] = {{0}, {0}};
    if (!stage || !sums) code = fail(phase, "no memory");
    for (int64_t next = 0, round = 0; !code && (next < p.count || end[(round + 1) & 1] > first[(round + 1) & 1]); round++) {
        int now_set = (int)(round & 1), before = 1 - now_set;
        float *mine = stage + now_set * stride * others;
        first[now_set] = next;
        end[now_set] = next = next < p.count ? batch_end(&p, next, sums) : next;
        int64_t place = 0;
        for (int64_t i = first[now_set]; !code && i < end[now_set]; i++) {
            const item *it = p.items + i;
            if (it->owner != rank) {
                code = send(phase, flights + now_set, values + it->offset, it->count, it->owner);
                continue;
            }
            for (int r = 0, other = 0; !code && r < size; r++)
                if (r != rank)
                    code = receive(phase, flights + now_set, mine + stride * other++ + place, it->count, r);
            place += it->count;
        }
        if (!code) code = land(phase, flights + before);
        place = 0;
        for (int64_t i = first[before]; !code && i < end[before]; i++) {
            const item *it = p.items + i;
            if (it->owner != rank) continue;
            add_in_order(values + it->offset, stage + before * stride * others + place, stride, it->count);
            place += it->count;
        }
        first[before] = end[before] = 0;
    }
    for (int s = 0; s < 2; s++) free(flights[s].requests), free(flights[s].peers);
    free(stage), free(sums), free(p.items);
    return leave(entered, code);
}

/* `target`: where values arrive; NULL: nowhere. `everywhere`: at all ranks, else at rank 0. */
static int spread(
    const char *phase, const float *values, float *target, int everywhere, const craft_mpi_segment *segments, int64_t count) {
    double entered = enter(phase, 0);
    plan p;
    int code = make_plan(phase, segments, count, &p);
    if (code) return leave(entered, code);
    int64_t *sums = malloc((size_t)size * sizeof *sums);
    flight f = {0};
    if (!sums) code = fail(phase, "no memory");
    for (int64_t next = 0; !code && next < p.count;) {
        int64_t end = batch_end(&p, next, sums);
        for (; !code && next < end; next++) {
            const item *it = p.items + next;
            if (it->owner == rank) {
                for (int k = 1; !code && k < size; k++)
                    if (everywhere || (rank + k) % size == 0)
                        code = send(phase, &f, values + it->offset, it->count, (rank + k) % size);
                if (target && target != values)
                    memcpy(target + it->offset, values + it->offset, (size_t)it->count * sizeof *target);
            } else if (target) {
                code = receive(phase, &f, target + it->offset, it->count, it->owner);
            }
        }
        if (!code) code = land(phase, &f);
    }
    free(f.requests), free(f.peers), free(sums), free(p.items);
    return leave(entered, code);
}

static int share(const char *phase, float *values, const craft_mpi_segment *segments, int64_t count) {
    return spread(phase, values, values, 1, segments, count);
}

static int collect(
    const char *phase, const float *values, float *target, const craft_mpi_segment *segments, int64_t count) {
    return spread(phase, values, rank ? NULL : target, 0, segments, count);
}

const craft_mpi_functions *craft_mpi(void) {
    static const craft_mpi_functions functions = {
        CRAFT_MPI_ABI, start, library, error, gather, reduce, share, collect, usage, abort_all, finish,
    };
    return &functions;
}
