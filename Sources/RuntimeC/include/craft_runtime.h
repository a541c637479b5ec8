/* craft_runtime.h - craft's plugins for any host: the conversation of a training step, as a C library.
 *
 * A session opens a list of plugins, tells them about the run, and then takes part in each step: what a micro-batch has goes
 * in, losses and cotangents come out; the Gram matrices of the objectives' gradients go in, weights come out; multipliers and
 * metrics come out. It trains nothing and knows no tensor library. It is the same conversation as `craft train` has, and equal
 * inputs give equal bits.
 *
 *     craft_runtime *s = craft_runtime_open("BaselineL1,PCGrad:scope=layer", "/folder/of/plugins", NULL);
 *     craft_runtime_fact(s, "batch", 8); craft_runtime_blocks(s, CRAFT_RUNTIME_TENSOR, &table); craft_runtime_plan(s);
 *     for each step:
 *         craft_runtime_begin(s, step, rate);
 *         for each micro-batch: craft_runtime_set_array(s, predicted, &actions); ...; craft_runtime_micro_batch(s);
 *                               backward passes of what craft_runtime_get_array(s, cotangent, &view) gives
 *         craft_runtime_close_batch(s, rows, &m);
 *         craft_runtime_combine(s, &gradients, weights, k * m);
 *         an optimizer step along sum_i weights[b][i] G_i
 *         craft_runtime_finish(s);
 *     craft_runtime_close(s);
 *
 * Threads. Tags as in craft_plugin.h: [any] any thread, any time; [session] any thread, but one at a time for one session: a
 * second that comes meanwhile is refused. Sessions on several threads do not wait for each other, unless a plugin makes them.
 *
 * Errors. Functions return CRAFT_RUNTIME_OK or another status, and craft_runtime_error() then says why, in a sentence. No
 * function ends the process on wrong input: NULL, wrong sizes, calls in the wrong order, unknown names and closed sessions are
 * refused. What a plugin does is its own: craft_runtime_report_crashes() names one that crashes.
 *
 * Lifetimes. What goes in is copied before a function returns, except for the elements of arrays. What comes out belongs to
 * the session, until what each function says, and to the caller never: nothing is to be freed.
 *
 * Versions. The library of version 2 added craft_runtime_rates, _pull, _stop, _evaluate, _end, _gram, _weighted_sum and
 * gram_cross; a program that uses none of them runs with version 1. Structs begin with struct_size, sizeof as the caller was compiled; members are only ever appended. Functions are
 * never removed or changed.
 */
#ifndef CRAFT_RUNTIME_H
#define CRAFT_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#include "craft_plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of this header; craft_runtime_version() is the library's. A library of the same version or a later one serves. */
#define CRAFT_RUNTIME_VERSION 2u

enum {
    CRAFT_RUNTIME_OK = 0,
    CRAFT_RUNTIME_FAILED = 1, /* craft_runtime_error() says why */
    CRAFT_RUNTIME_ABSENT = 2  /* the value asked for does not exist at the moment */
};

/* What one block of the Gram matrices is: the codes of block_scope. */
enum {
    CRAFT_RUNTIME_TENSOR = 0,
    CRAFT_RUNTIME_LAYER = 1,
    CRAFT_RUNTIME_MODULE = 2,
    CRAFT_RUNTIME_GLOBAL = 3
};

typedef struct craft_runtime craft_runtime;

/* ---- Opening ------------------------------------------------------------------------------------------------------- */

/* [any] CRAFT_RUNTIME_VERSION of the library. */
uint32_t craft_runtime_version(void);

/* [any] Why the last function that failed on this thread did. Never NULL; empty before the first failure.
 * Lifetime: until the next function fails on this thread, or the thread ends. */
const char *craft_runtime_error(void);

/* [any] Names the plugin, its hook and the step on standard error when the process ends by SIGSEGV, SIGBUS, SIGFPE, SIGILL or
 * SIGABRT inside of a plugin, and then lets the handlers that were there do what they do. Installs signal handlers, which the
 * library otherwise leaves alone; once is enough. */
void craft_runtime_report_crashes(void);

/* [any] Opens a list of plugins: "A,B:key=value,second=A,/path/libX.so" as --plugins of craft takes it.
 *   folders     where plugins are looked up by name, separated by colons; NULL: none, only paths are found
 *   objectives  objectives whose losses the host computes itself, separated by commas, in the order of their rows; plugins'
 *               own follow. NULL or "": plugins' only
 * NULL when something is wrong with the list; craft_runtime_error() then names all of it. Plugins stay loaded until the process
 * ends. */
craft_runtime *craft_runtime_open(const char *plugins, const char *folders, const char *objectives);

/* [session] Ends the session and destroys its plugins' instances. NULL is allowed; a second time is refused. */
int32_t craft_runtime_close(craft_runtime *session);

/* [session] What the session is, as JSON:
 *   objectives  by row
 *   plan        plugins with version, SHA-256 and settings; hooks by point, each name with type and who gives or reads it
 *   host        the names that hooks read and the host may give: {"name", "type", "optional", "point"}
 *   decisions   what plan hooks decided, null before: {"block_scope", "taps", "probes", "rate_scales", "multipliers"}
 *   blocks      their names, in order
 * Lifetime: until the next call with this session. */
int32_t craft_runtime_describe(craft_runtime *session, const char **json);

/* ---- Before the first step ----------------------------------------------------------------------------------------- */

/* [session] Something known of the run: hidden_states, hidden_size, visual_tokens, cameras, queries, batch, steps, seed. What
 * is not told is absent: hooks that need it fail. */
int32_t craft_runtime_fact(craft_runtime *session, const char *name, int64_t value);

/* Who the blocks are: k of them. NULL arrays stand for what is unknown. */
typedef struct craft_runtime_block_table {
    uint32_t struct_size;
    uint32_t reserved;            /* 0 */
    int64_t count;                /* k, 1 or more */
    const char *const *names;     /* [k]; NULL: block 0, block 1, ... */
    const int64_t *numel;         /* [k] parameters of each block; required */
    const int64_t *group;         /* [k] codes of block_group; -1: several, or of no known one */
    const int64_t *layer;         /* [k] index of the layer; -1: outside of one */
    const int64_t *kind;          /* [k] codes of block_kind */
    const int64_t *shape;         /* [k,2] rows and columns; 0 and 0 of several tensors */
} craft_runtime_block_table;

/* [session] The blocks for one block_scope. Plugins choose the scope in craft_runtime_plan, which takes the table given for
 * it: give one for each that the host can do, CRAFT_RUNTIME_TENSOR at least, which is what none chosen means. */
int32_t craft_runtime_blocks(craft_runtime *session, int32_t scope, const craft_runtime_block_table *table);

/* [session] The names of the parameter groups, for rates. Not told: every name is accepted. */
int32_t craft_runtime_groups(craft_runtime *session, const char *const *names, int64_t count);

/* [session] Says that this host never has a value, and why: hooks that require it are refused by craft_runtime_plan, with the
 * reason, instead of failing in the first step. */
int32_t craft_runtime_absent(craft_runtime *session, const char *name, const char *reason);

/* [session] Runs the plan hooks. The decisions are in craft_runtime_describe. Once, before the first step. */
int32_t craft_runtime_plan(craft_runtime *session);

/* ---- Values -------------------------------------------------------------------------------------------------------- */

/* [session] A handle for a name of the registry (`craft plugins names` lists them), for the functions below.
 * The same name has the same handle as long as the session lives. */
int32_t craft_runtime_name(craft_runtime *session, const char *name, int32_t *handle);

/* [session] Gives a value to the hooks that read it. loss.X, for an objective of the host, is a micro-batch's and is forgotten
 * after craft_runtime_micro_batch; lambda.X is the multiplier from here on; other scalars stay until they are set again. */
int32_t craft_runtime_set_f64(craft_runtime *session, int32_t handle, double value);
int32_t craft_runtime_set_i64(craft_runtime *session, int32_t handle, int64_t value);

/* [session] Lends an array: in CPU memory, compact, row-major (strides NULL says so too). The view is copied, its elements are
 * not: they have to stay where they are, unchanged, until the array is set again or the step ends with craft_runtime_finish
 * or craft_runtime_abandon, when it is forgotten. Data that come from a DLTensor: its members up to byte_offset are the same.
 * NULL: the value of this name is absent on purpose, and hooks that require it are not called. */
int32_t craft_runtime_set_array(craft_runtime *session, int32_t handle, const craft_array *array);

/* [session] A value that hooks gave or the session keeps. CRAFT_RUNTIME_ABSENT when there is none at the moment. */
int32_t craft_runtime_get_f64(craft_runtime *session, int32_t handle, double *value);
int32_t craft_runtime_get_i64(craft_runtime *session, int32_t handle, int64_t *value);

/* [session] The same for an array: fills `array` with a read-only view. Lifetime of its elements, shape and strides: until the
 * next craft_runtime_micro_batch, _combine, _finish, _abandon or _close, or the next craft_runtime_get_array of the same handle. */
int32_t craft_runtime_get_array(craft_runtime *session, int32_t handle, craft_array *array);

/* ---- A step -------------------------------------------------------------------------------------------------------- */

/* [session] Begins step `step`, counted from 0, at this learning rate. */
int32_t craft_runtime_begin(craft_runtime *session, int64_t step, double rate);

/* [session] Runs the pre_backward hooks on the values of one micro-batch. */
int32_t craft_runtime_micro_batch(craft_runtime *session);

/* [session] Ends the micro-batches: losses become their means. Gives the rows of the objectives that take part in the step, m
 * of them, counted from 0 in the order of craft_runtime_describe's objectives.
 *   rows   room for all objectives; NULL: they are not wanted
 *   count  receives m */
int32_t craft_runtime_close_batch(craft_runtime *session, int64_t *rows, int64_t *count);

/* [session] In place of micro-batches and craft_runtime_close_batch, for a host that computes every loss itself.
 *   losses   [count], by row
 *   present  [count], 0 for an objective that takes no part; NULL: all do
 *   count    objectives of the session */
int32_t craft_runtime_losses(craft_runtime *session, const double *losses, const uint8_t *present, int64_t count);

/* What is known of the gradients of the objectives that take part: m rows in k blocks. */
typedef struct craft_runtime_gradients {
    uint32_t struct_size;
    uint32_t reserved;         /* 0 */
    int64_t blocks;            /* k */
    int64_t rows;              /* m */
    const double *gram;        /* [k,m,m], row-major: inner products in each block, summed in double precision */
    int64_t coordinates;       /* n, parameters in all blocks together; 0: their numel */
    const craft_array *grads;  /* f32 [m,n] in block order, for plugins that read grads; NULL otherwise */
    const double *gram_cross;  /* [k,m,m]: of one half of the micro-batches with the other; NULL: unknown. Since version 2 */
} craft_runtime_gradients;

/* [session] Runs the gradient_combine hooks. Without an objective that takes part, nothing is called and nothing is written.
 *   weights  receives [k,m]: the factor of each row in each block. After a hook that gives the gradient itself, "combined" has a
 *            value, f32 [n], which stands in place of the weighted sum
 *   count    room in `weights`, k m at least */
int32_t craft_runtime_combine(
    craft_runtime *session, const craft_runtime_gradients *gradients, double *weights, int64_t count);

/* [session] The factors on the learning rate of each block that craft_runtime_combine decided in this step, 0 leaving the block
 * alone. CRAFT_RUNTIME_ABSENT: no plugin gives any, each is 1.
 *   count  blocks of the session */
int32_t craft_runtime_rates(craft_runtime *session, double *rates, int64_t count);

/* [session] Runs the post_step hooks and ends the step. */
int32_t craft_runtime_finish(craft_runtime *session);

/* [session] Ends a step of which nothing comes, such as one with a loss that is not a number, or one in which a hook failed. */
int32_t craft_runtime_abandon(craft_runtime *session);

/* [session] What came of the last finished step, as JSON: loss.X, lambda.X (the next step's), lambda.X@prev (this step's), and
 * plugins' metrics by name. Lifetime: until the next call with this session. */
int32_t craft_runtime_metrics(craft_runtime *session, const char **json);

/* [session] The share of the way back to its initial values that each block goes after the last finished step, 0 to 1.
 * CRAFT_RUNTIME_ABSENT: no plugin gives any.
 *   count  blocks of the session */
int32_t craft_runtime_pull(craft_runtime *session, double *pull, int64_t count);

/* [session] Why the run is to end, as the last craft_runtime_finish or craft_runtime_evaluate decided: plugin, hook and step, in
 * a sentence. CRAFT_RUNTIME_ABSENT: it goes on. Lifetime: until the next call with this session. */
int32_t craft_runtime_stop(craft_runtime *session, const char **reason);

/* [session] The multipliers that the next step uses, by row. `count`: objectives of the session. */
int32_t craft_runtime_multipliers(craft_runtime *session, double *multipliers, int64_t count);

/* ---- Around the steps ---------------------------------------------------------------------------------------------- */

/* [session] Tells evaluate hooks what was measured after `steps` steps, between two steps; craft_runtime_stop says whether the run
 * is to end.
 *   names   [count], X for what hooks read as eval.X; measures that are not among them are absent
 *   values  [count], finite
 *   json    receives the plugins' metrics by name; NULL: they are not wanted. Lifetime: until the next call with this session */
int32_t craft_runtime_evaluate(
    craft_runtime *session, int64_t steps, const char *const *names, const double *values, int64_t count, const char **json);

/* [session] Tells finish hooks that `steps` steps were the last. The measures are those of craft_runtime_evaluate. */
int32_t craft_runtime_end(
    craft_runtime *session, int64_t steps, const char *const *names, const double *values, int64_t count);

/* ---- Passes over gradients ----------------------------------------------------------------------------------------- */

/* [any] Inner products of m gradients in each of k blocks, in one pass over them, in double precision; no session is needed.
 *   rows     [m], float32 in CPU memory, compact, in block order
 *   offsets  [k+1], where blocks begin and the last one ends, counted in numbers, not falling
 *   gram     receives [k,m,m] */
int32_t craft_runtime_gram(const float *const *rows, int64_t m, const int64_t *offsets, int64_t k, double *gram);

/* [any] The sum of weights times gradients, in one pass: sum[x] = sum_i weights[b][i] rows[i][x] for x in block b.
 *   weights  [k,m]; a row is not read where its weight is 0
 *   sum      receives offsets[k] numbers; it may be one of the rows */
int32_t craft_runtime_weighted_sum(
    const float *const *rows, int64_t m, const int64_t *offsets, int64_t k, const double *weights, float *sum);

/* ---- State --------------------------------------------------------------------------------------------------------- */

/* [session] Everything that the conversation carries from step to step, between two steps; equal states give equal bytes.
 * Lifetime: until the next call with this session. */
int32_t craft_runtime_save(craft_runtime *session, const void **bytes, uint64_t *size);

/* [session] Restores what craft_runtime_save gave, in a session of the same list, after craft_runtime_plan and between two
 * steps. When it fails, the session is of no further use but to be closed or restored from something else. */
int32_t craft_runtime_load(craft_runtime *session, const void *bytes, uint64_t size);

#ifdef __cplusplus
}
#endif
#endif
