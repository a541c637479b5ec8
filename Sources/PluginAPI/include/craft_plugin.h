/* craft_plugin.h - the craft plugin ABI, version 1.2.
 *
 * A plugin is a shared library that exports one C function, craft_plugin_entry, which returns a static table: who the
 * plugin is, the settings it takes, the hooks it offers, and how to create and destroy an instance. A hook declares its
 * arguments and results by name and type in a signature string; the host fills the arguments from those names. A plugin
 * gets what it asks for and nothing else, and the host computes nothing that nobody asks for.
 *
 * This header needs only a C99 or C++11 compiler. It declares no host symbol: a plugin links against nothing of craft.
 *
 * Signature grammar
 *     signature = [items] "->" [items]           inputs, then results; a trailing comma is allowed
 *     item      = name ":" type ["?"]            "?" marks an optional input or result
 *     type      = "f64" | "i64" | element "[" axis { "," axis } "]"
 *     element   = "f32" | "f64" | "i64"
 *     axis      = identifier (same identifier, same size within one call) | decimal number (exactly that size)
 *     name      = segments of letters, digits, "_" and "-" joined by "."; a segment may be "{setting}", filled from the
 *                 plugin's own setting of that name, or "{instance}", the name the user gave this instance.
 *                 The suffix "@prev" reads the value of the previous step; such an input must be optional.
 *
 * Example      "loss.{objective}: f64, lambda.{objective}: f64 -> lambda.{objective}: f64"
 *
 * How an item is passed
 *     input  f64, i64         by value                  input  f64?, i64?     const double *, const int64_t *; NULL = absent
 *     input  array            const craft_array *       input  array?         const craft_array *; NULL = absent
 *     result f64, i64         double *, int64_t *       result f64?, i64?     the same; leaving it unwritten is allowed
 *     result array            craft_array *             result array?         the same, to be written whole or not at all; NULL
 *                                                                             when an absent input leaves an axis unknown
 *
 * A hook is not called in a step that has no value for one of its inputs without "?", and has none on purpose: that of a
 * probe which does not run, or of a hook that was not called for this reason. Its results are absent then; multipliers
 * stay what they were.
 *
 * Tags on every function:  [main]  one thread at a time for each instance: never concurrently with another call into the same
 * instance, but not always on the same thread, and other instances may be called meanwhile;  [any] any thread, any time, as all that
 * this header itself defines.  {load} before any instance exists;  {idle} between training steps;  {step} inside one.
 * Lifetimes: "static" = valid until the process ends; "call" = valid until the function returns.
 *
 * Requirements, and what enforces each: "compile" this header's macros and the SDKs; "load" the host when it opens the
 * file; "compose" the host before the first step; "call" the host at every call, naming the plugin; "check X" the check X
 * of `craft plugins check`; "review" nothing but a reader. None of load, compose and call can be turned off.
 *
 *   The plugin                                                                             enforced by
 *   R1   exports craft_plugin_entry and no other symbol                                    check symbols
 *   R2   returns the same static table every time, at once: work belongs into create       check scan
 *   R3   was compiled for the host's major and needs at most the host's minor              load
 *   R4   gives the sizes of its structs as it was compiled, at least those of ABI 1.0      load
 *   R5   has an id, a version and a summary; the id names this plugin permanently          load; check descriptor; review
 *   R6   declares each setting once, its default in range, and works with every value      load; check settings
 *        it allows or refuses it with a reason
 *   R7   declares each hook by a signature that describes the function                     compile; load
 *   R8   uses names of the registry, at their points and in their types                    compose; check descriptor
 *   R9   reads what somebody gives; gives what nobody else does, chained and shared        compose
 *        names apart; makes no cycle
 *   R10  gets and gives arrays whose equal axis names have equal sizes                     call
 *   R11  writes every required result, and all of it; of an optional array all or          call; check results
 *        nothing
 *   R12  gives finite numbers, from 1e-300 to 1e150, or an error                           call; check random, zero, tiny, huge
 *   R13  says why when it fails: a status other than 0 and a message                       check random
 *   R14  does not write to inputs                                                          check read-only
 *   R15  stays within its buffers                                                          check bounds
 *   R16  keeps no pointer beyond its lifetime                                              check bounds; review
 *   R17  gives the same bytes for the same input and state: no clock, no random device     check determinism
 *   R18  does not remember what is not a number                                            check nan
 *   R19  saves the whole state, the same state as the same bytes, and reads it back from   check state
 *        pieces of any size
 *   R20  refuses damaged state and is then as before, or reads it without harm             check damaged-state
 *   R21  is after reset as after create                                                    check reset
 *   R22  leaves no memory, file or thread behind after destroy                             check leaks
 *   R23  keeps nothing in global variables: instances are independent                      check instances
 *   R24  answers NULL to an extension id it does not know                                  check descriptor
 *   R25  lets no exception, panic or longjmp cross this boundary: catch it, return a       compile (SDKs); review
 *        status
 *
 *   The host                                                                               enforced by
 *   R26  never unloads a library, and calls one instance from one thread at a time         review
 *   R27  passes compact row-major arrays, results allocated, errors cleared                its tests
 *   R28  reads min(struct_size, its own size) bytes of every struct and takes what is      its tests
 *        missing as 0: sizes are compared with >=, never with ==
 *   R29  gives NATIVE and FRAME functions the same arguments                               its tests
 *   R30  never changes the meaning, type or point of a name; minors add names              its tests
 */
#ifndef CRAFT_PLUGIN_H
#define CRAFT_PLUGIN_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A host with major M and minor N runs every plugin with the same major that needs minor N or less. Minors only append. */
#define CRAFT_ABI_MAJOR 1u
#define CRAFT_ABI_MINOR 2u

/* Bytes of the structs that a plugin fills, in ABI 1.0. */
#define CRAFT_PLUGIN_SIZE_1_0 120u
#define CRAFT_PARAMETER_SIZE_1_0 56u
#define CRAFT_HOOK_SIZE_1_0 56u

/* Inputs plus results of one hook. */
#define CRAFT_MAX_ARITY 24

/* Status of every function that can fail: 0 is success; any other value is a failure described in craft_error. */
#define CRAFT_OK 0
#define CRAFT_FAILED 1

#define CRAFT_MESSAGE_CAPACITY 1024

/* Where a failing function says why. Owned by the host, cleared before each call; lifetime: call. */
typedef struct craft_error {
    uint32_t struct_size;
    int32_t code;                          /* the plugin's own number, for its author; 0 when unused */
    char message[CRAFT_MESSAGE_CAPACITY];  /* UTF-8, NUL-terminated: what was expected, what was found, what to do */
} craft_error;

/* Fills `error` as printf does and returns CRAFT_FAILED, so that a function can end with `return craft_fail(...)`. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3), unused))
#endif
static inline int32_t craft_fail(craft_error *error, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (error) vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    return CRAFT_FAILED;
}

/* ---- Arrays ------------------------------------------------------------------------------------------------------ */

#define CRAFT_TYPE_INT 0u   /* DLPack's kDLInt */
#define CRAFT_TYPE_FLOAT 2u /* DLPack's kDLFloat */
#define CRAFT_DEVICE_CPU 1  /* DLPack's kDLCPU */

#define CRAFT_ARRAY_READ_ONLY 1u /* writing through `data` is a bug; inputs always carry it */
/* Since 1.2: nobody asked for the elements of this result yet. Result arrays arrive with it; craft_write_* clear it. */
#define CRAFT_ARRAY_UNWRITTEN 2u
/* What the 8 bytes of a scalar result hold until it is written; of a double, a NaN that no computation produces. */
#define CRAFT_UNWRITTEN 0x7ff8c4af7dead0b1ll

/* A borrowed view of an array. Everything up to byte_offset has the memory layout of DLPack's DLTensor, so that
 * (DLTensor *)view works. In ABI 1 arrays live in CPU memory, are compact and row-major, and byte_offset is 0.
 * Lifetime of the view and all it points to: call. */
typedef struct craft_array {
    void *data;          /* NULL only when the array has no elements */
    int32_t device_type; /* CRAFT_DEVICE_CPU */
    int32_t device_id;
    int32_t ndim;
    uint8_t type_code;  /* CRAFT_TYPE_INT or CRAFT_TYPE_FLOAT */
    uint8_t type_bits;  /* 32 or 64 */
    uint16_t type_lanes; /* 1 */
    int64_t *shape;   /* [ndim] */
    int64_t *strides; /* [ndim], in elements */
    uint64_t byte_offset;
    uint64_t flags; /* CRAFT_ARRAY_READ_ONLY, CRAFT_ARRAY_UNWRITTEN */
} craft_array;

#if defined(__GNUC__)
#define CRAFT_UNUSED __attribute__((unused))
#define CRAFT_EXPORT __attribute__((visibility("default")))
#else
#define CRAFT_UNUSED
#define CRAFT_EXPORT
#endif

/* Typed access to an array's elements. NULL when the element type is another one, or there are no elements. */
CRAFT_UNUSED static inline int craft_array_is(const craft_array *a, unsigned code, unsigned bits) {
    return a && a->type_code == code && a->type_bits == bits && a->type_lanes == 1;
}
CRAFT_UNUSED static inline const double *craft_read_f64(const craft_array *a) {
    return craft_array_is(a, CRAFT_TYPE_FLOAT, 64) ? (const double *)a->data : NULL;
}
CRAFT_UNUSED static inline const float *craft_read_f32(const craft_array *a) {
    return craft_array_is(a, CRAFT_TYPE_FLOAT, 32) ? (const float *)a->data : NULL;
}
CRAFT_UNUSED static inline const int64_t *craft_read_i64(const craft_array *a) {
    return craft_array_is(a, CRAFT_TYPE_INT, 64) ? (const int64_t *)a->data : NULL;
}
/* Says that a result is given; craft_write_* do. Without the flag nothing is touched: hosts before 1.2 do not set it. */
CRAFT_UNUSED static inline void craft_mark_written(craft_array *a) {
    if (a && (a->flags & CRAFT_ARRAY_UNWRITTEN)) a->flags &= ~(uint64_t)CRAFT_ARRAY_UNWRITTEN;
}
CRAFT_UNUSED static inline double *craft_write_f64(craft_array *a) {
    craft_mark_written(a);
    return (double *)craft_read_f64(a);
}
CRAFT_UNUSED static inline float *craft_write_f32(craft_array *a) {
    craft_mark_written(a);
    return (float *)craft_read_f32(a);
}
CRAFT_UNUSED static inline int64_t *craft_write_i64(craft_array *a) {
    craft_mark_written(a);
    return (int64_t *)craft_read_i64(a);
}

/* Puts a text into row `row` of an i64 array [rows, bytes]: its UTF-8 bytes, one an element, and zeros after them. Fails
 * when there is no such row or the text is longer than one. */
CRAFT_UNUSED static inline int32_t craft_write_text(craft_array *a, int64_t row, const char *text) {
    int64_t *out = craft_write_i64(a);
    int64_t i, width = a && a->ndim == 2 ? a->shape[1] : 0;
    if (!out || a->ndim != 2 || row < 0 || row >= a->shape[0]) return CRAFT_FAILED;
    for (i = 0; i < width; i++) out[row * width + i] = *text ? (uint8_t)*text++ : 0;
    return *text ? CRAFT_FAILED : CRAFT_OK;
}

/* Number of elements. */
CRAFT_UNUSED static inline int64_t craft_count(const craft_array *a) {
    int64_t n = 1;
    int32_t i;
    for (i = 0; i < a->ndim; i++) n *= a->shape[i];
    return n;
}

/* ---- Settings ---------------------------------------------------------------------------------------------------- */

enum { CRAFT_I64 = 0, CRAFT_F64 = 1, CRAFT_BOOL = 2, CRAFT_STRING = 3 };

/* One setting the plugin takes. Every pointer is static. */
typedef struct craft_parameter {
    const char *name;           /* letters, digits and "_" */
    int32_t type;               /* CRAFT_I64, CRAFT_F64, CRAFT_BOOL or CRAFT_STRING */
    int32_t reserved;           /* 0 */
    const char *default_value;  /* as a user would type it: "0.1", "true", "tensor"; inside the range */
    double minimum;             /* inclusive; for i64 and f64. -INFINITY / INFINITY (math.h) for no limit */
    double maximum;
    const char *const *choices; /* NULL-terminated list of the only values allowed, for CRAFT_STRING; NULL = any text */
    const char *doc;            /* one sentence, with the unit where there is one */
} craft_parameter;

/* One resolved setting. Lifetime, of the texts too: call. */
typedef struct craft_setting {
    const char *name;
    int32_t type;
    int32_t reserved;
    int64_t i64; /* CRAFT_I64; CRAFT_BOOL as 0 or 1 */
    double f64;  /* CRAFT_F64 */
    const char *text; /* the value as text, for every type */
} craft_setting;

/* What `create` receives: every parameter the plugin declares, in declared order, checked. Lifetime: call. */
typedef struct craft_settings {
    uint32_t struct_size;
    uint32_t setting_size; /* bytes from one setting to the next */
    uint32_t count;
    uint32_t reserved;
    const craft_setting *items;
    const char *instance; /* the name the user gave this instance */
} craft_settings;

/* The i-th setting; NULL past the end. */
CRAFT_UNUSED static inline const craft_setting *craft_setting_at(const craft_settings *settings, uint32_t i) {
    if (!settings || i >= settings->count) return NULL;
    return (const craft_setting *)(const void *)((const char *)settings->items + (size_t)i * settings->setting_size);
}

/* ---- Host services and state streams ------------------------------------------------------------------------------ */

enum { CRAFT_LOG_INFO = 0, CRAFT_LOG_WARNING = 1 };

/* What the host offers. Lifetime: static. */
typedef struct craft_host {
    uint32_t struct_size;
    uint32_t abi_major;
    uint32_t abi_minor;
    uint32_t reserved;
    const char *name;
    const char *version;
    void *context;                                                             /* pass it back to the functions below */
    void (*log)(void *context, int32_t severity, const char *message); /* [any] message lifetime: call */
} craft_host;

/* Where `save` writes. `write` returns the bytes taken, which is `size`, or -1 when the host cannot take them. */
typedef struct craft_output {
    uint32_t struct_size;
    uint32_t reserved;
    void *context;
    int64_t (*write)(void *context, const void *data, uint64_t size); /* [main] inside save only */
} craft_output;

/* Where `load` reads. `read` returns the bytes given: between 1 and `size`, 0 at the end, -1 on failure. It may give
 * fewer than asked for; ask again. */
typedef struct craft_input {
    uint32_t struct_size;
    uint32_t reserved;
    void *context;
    int64_t (*read)(void *context, void *data, uint64_t size); /* [main] inside load only */
} craft_input;

/* Saving and loading for `save` and `load`: a number takes 8 bytes; an array and a text a count of 8 bytes and their elements.
 * All little-endian, as every SDK writes them. Each returns a status and says in `error` what went wrong, so that a function can
 * end with
 *     return craft_save_f64(output, rule->mean, error) || craft_save_f32s(output, rule->history, n, error);
 * Load everything before anything is assigned: after a failure the instance must be as it was. */
CRAFT_UNUSED static inline int32_t craft_save_bytes(
    const craft_output *output, const void *data, uint64_t size, craft_error *error) {
    if (size == 0 || output->write(output->context, data, size) == (int64_t)size) return CRAFT_OK;
    return craft_fail(error, "the host could not take the plugin's state");
}
CRAFT_UNUSED static inline int32_t craft_save_f64(const craft_output *output, double value, craft_error *error) {
    return craft_save_bytes(output, &value, sizeof value, error);
}
CRAFT_UNUSED static inline int32_t craft_save_i64(const craft_output *output, int64_t value, craft_error *error) {
    return craft_save_bytes(output, &value, sizeof value, error);
}
CRAFT_UNUSED static inline int32_t craft_save_array_(
    const craft_output *output, const void *data, int64_t count, uint64_t size, craft_error *error) {
    return craft_save_i64(output, count, error) || craft_save_bytes(output, data, (uint64_t)count * size, error);
}
CRAFT_UNUSED static inline int32_t craft_save_f64s(
    const craft_output *output, const double *values, int64_t count, craft_error *error) {
    return craft_save_array_(output, values, count, sizeof *values, error);
}
CRAFT_UNUSED static inline int32_t craft_save_f32s(
    const craft_output *output, const float *values, int64_t count, craft_error *error) {
    return craft_save_array_(output, values, count, sizeof *values, error);
}
CRAFT_UNUSED static inline int32_t craft_save_i64s(
    const craft_output *output, const int64_t *values, int64_t count, craft_error *error) {
    return craft_save_array_(output, values, count, sizeof *values, error);
}
CRAFT_UNUSED static inline int32_t craft_save_text(const craft_output *output, const char *text, craft_error *error) {
    return craft_save_array_(output, text, (int64_t)strlen(text), 1, error);
}
/* Reads all of `size` bytes, in as many pieces as the host makes of them. */
CRAFT_UNUSED static inline int32_t craft_load_bytes(
    const craft_input *input, void *data, uint64_t size, craft_error *error) {
    uint64_t filled = 0;
    while (filled < size) {
        int64_t count = input->read(input->context, (char *)data + filled, size - filled);
        if (count <= 0 || (uint64_t)count > size - filled) return craft_fail(error, "the saved state ends too early");
        filled += (uint64_t)count;
    }
    return CRAFT_OK;
}
CRAFT_UNUSED static inline int32_t craft_load_f64(const craft_input *input, double *value, craft_error *error) {
    return craft_load_bytes(input, value, sizeof *value, error);
}
CRAFT_UNUSED static inline int32_t craft_load_i64(const craft_input *input, int64_t *value, craft_error *error) {
    return craft_load_bytes(input, value, sizeof *value, error);
}
/* The count of an array or a text, from 0 to `limit`: what a damaged count can make the plugin allocate. Its elements follow,
 * for craft_load_bytes. */
CRAFT_UNUSED static inline int32_t craft_load_count(
    const craft_input *input, int64_t limit, int64_t *count, craft_error *error) {
    int64_t read = 0;
    *count = 0;
    if (craft_load_i64(input, &read, error)) return CRAFT_FAILED;
    if (read < 0 || read > limit) {
        return craft_fail(error, "the saved state is damaged: %lld values in a list of at most %lld", (long long)read,
                          (long long)limit);
    }
    return *count = read, CRAFT_OK;
}

/* ---- Hooks --------------------------------------------------------------------------------------------------------- */

/* How `function` is called. Both forms pass the same arguments, in declared order: inputs, then results.
 *   NATIVE   int32_t f(void *self, <inputs>, <results>, craft_error *error)      [main]{step; plan: idle}
 *   FRAME    craft_frame_function; arguments[i] holds the 8 bytes that NATIVE passes as its i-th argument */
enum { CRAFT_CALL_NATIVE = 0, CRAFT_CALL_FRAME = 1 };

/* One argument of a FRAME call. Lifetime: call. */
typedef union craft_slot {
    double f64;
    int64_t i64;
    const double *optional_f64;
    const int64_t *optional_i64;
    const craft_array *array;
    double *f64_result;
    int64_t *i64_result;
    craft_array *array_result;
} craft_slot;

typedef int32_t (*craft_frame_function)(void *self, void *context, const craft_slot *arguments, craft_error *error);
typedef void (*craft_function)(void);

/* One hook. Every pointer is static. */
typedef struct craft_hook {
    const char *point;       /* "plan", "pre_backward", "gradient_combine", "post_step", "evaluate" or "finish" */
    const char *signature;
    const char *codes;       /* the types of the function's real parameters, see craft_signature_hash */
    uint64_t signature_hash; /* craft_signature_hash(signature, codes) */
    int32_t call;            /* CRAFT_CALL_NATIVE or CRAFT_CALL_FRAME */
    int32_t reserved;        /* 0 */
    craft_function function; /* cast from the hook function */
    void *context;           /* handed to a FRAME function; NULL for NATIVE */
} craft_hook;

/* Codes of parameter types, one character each in declared order:
 *   d double   l int64_t   D const double *   L const int64_t *   A const craft_array *
 *   x double * y int64_t * Z craft_array *
 * FNV-1a (64 bit) over the signature, one zero byte, and the codes. The host derives the codes from the signature and
 * compares both: a signature that does not describe the function is refused before the first call. */
CRAFT_UNUSED static inline uint64_t craft_signature_hash(const char *signature, const char *codes) {
    uint64_t hash = 14695981039346656037ull;
    const char *p;
    for (p = signature; *p; p++) hash = (hash ^ (uint8_t)*p) * 1099511628211ull;
    hash = hash * 1099511628211ull;
    for (p = codes; *p; p++) hash = (hash ^ (uint8_t)*p) * 1099511628211ull;
    return hash;
}

/* ---- The plugin table ---------------------------------------------------------------------------------------------- */

/* Lifetime: static, and everything it points to. Members marked (0) may be NULL or 0. */
typedef struct craft_plugin {
    uint32_t struct_size;   /* sizeof(craft_plugin) as the plugin was compiled */
    uint32_t abi_major;     /* CRAFT_ABI_MAJOR as the plugin was compiled */
    uint32_t abi_min_minor; /* the lowest minor this plugin can live with */
    uint32_t state_version; /* version of what `save` writes; `load` accepts this and every lower one */
    const char *id;         /* unique, always the same: "org.example.my-rule" */
    const char *version;    /* of the plugin, "1.0.0" */
    const char *summary;    /* one sentence */
    const craft_parameter *parameters; /* (0) */
    uint32_t parameter_count;
    uint32_t parameter_size; /* sizeof(craft_parameter) as the plugin was compiled */
    const craft_hook *hooks;
    uint32_t hook_count;
    uint32_t hook_size; /* sizeof(craft_hook) as the plugin was compiled */

    /* (0) Makes an instance. `host` is static; `settings` lives for the call. On success stores what the hooks get as
     * `self`. Without it `self` is NULL. [main]{idle} */
    int32_t (*create)(const craft_host *host, const craft_settings *settings, void **self, craft_error *error);
    /* (0) Ends an instance. [main]{idle} */
    void (*destroy)(void *self);
    /* (0) Writes the whole state: the same state gives the same bytes. Without it the plugin is stateless. [main]{idle} */
    int32_t (*save)(void *self, const craft_output *output, craft_error *error);
    /* (0) Reads what a `save` of `state_version` wrote. On failure the instance is as before. [main]{idle} */
    int32_t (*load)(void *self, const craft_input *input, uint32_t state_version, craft_error *error);
    /* (0) Back to the state right after create. [main]{idle} */
    int32_t (*reset)(void *self, craft_error *error);
    /* (0) A static table for an extension id such as "craft.card/1"; NULL for an id it does not know. [any] */
    const void *(*extension)(const char *id);
} craft_plugin;

/* The extension "craft.card/1": what the summary has no room for. Shown by `craft plugins inspect`. Lifetime: static. */
#define CRAFT_CARD_ID "craft.card/1"
typedef struct craft_card {
    uint32_t struct_size;  /* sizeof(craft_card) as the plugin was compiled */
    uint32_t reserved;     /* 0 */
    const char *formula;   /* (0) the rule, in lines */
    const char *reference; /* (0) where it comes from */
} craft_card;

/* The one symbol of a plugin. Always returns the same pointer. [main]{load} */
CRAFT_EXPORT const craft_plugin *craft_plugin_entry(void);

/* ---- Declaring hooks in C and C++ ------------------------------------------------------------------------------------
 *
 * One list per direction says everything once. CRAFT_HOOK turns it into the signature, its hash and the function's
 * header, so that they cannot disagree:
 *
 *     #define DUAL_IN(X)  X(f64, loss, "loss.{objective}", "") X(f64, lambda, "lambda.{objective}", "")
 *     #define DUAL_OUT(X) X(f64, next, "lambda.{objective}", "")
 *     CRAFT_HOOK(dual, DUAL_IN, DUAL_OUT) {
 *         *next = lambda + 0.01 * (loss - 0.1);
 *         return CRAFT_OK;
 *     }
 *     static craft_hook hooks[] = {CRAFT_HOOK_ENTRY("post_step", dual)};
 *     static const craft_plugin plugin = {CRAFT_PLUGIN_HEADER(0), "org.example.dual", "1.0.0", "Dual ascent.",
 *         CRAFT_NO_TABLE(craft_parameter), CRAFT_TABLE(hooks), NULL, NULL, NULL, NULL, NULL, NULL};
 *     CRAFT_PLUGIN_ENTRY(plugin, hooks)
 *
 * Kinds: f64, i64, f32_array, f64_array, i64_array, and each with the prefix optional_ . Arrays name their axes in the
 * last argument, "[b,h,a]"; scalars give "". CRAFT_NONE is the empty list. Every hook sees `self` and `error` too. */

#define CRAFT_NONE(X)

#define CRAFT_IN_f64 double
#define CRAFT_IN_i64 int64_t
#define CRAFT_IN_f32_array const craft_array *
#define CRAFT_IN_f64_array const craft_array *
#define CRAFT_IN_i64_array const craft_array *
#define CRAFT_IN_optional_f64 const double *
#define CRAFT_IN_optional_i64 const int64_t *
#define CRAFT_IN_optional_f32_array const craft_array *
#define CRAFT_IN_optional_f64_array const craft_array *
#define CRAFT_IN_optional_i64_array const craft_array *

#define CRAFT_OUT_f64 double *
#define CRAFT_OUT_i64 int64_t *
#define CRAFT_OUT_f32_array craft_array *
#define CRAFT_OUT_f64_array craft_array *
#define CRAFT_OUT_i64_array craft_array *
#define CRAFT_OUT_optional_f64 double *
#define CRAFT_OUT_optional_i64 int64_t *
#define CRAFT_OUT_optional_f32_array craft_array *
#define CRAFT_OUT_optional_f64_array craft_array *
#define CRAFT_OUT_optional_i64_array craft_array *

#define CRAFT_IN_CODE_f64 "d"
#define CRAFT_IN_CODE_i64 "l"
#define CRAFT_IN_CODE_f32_array "A"
#define CRAFT_IN_CODE_f64_array "A"
#define CRAFT_IN_CODE_i64_array "A"
#define CRAFT_IN_CODE_optional_f64 "D"
#define CRAFT_IN_CODE_optional_i64 "L"
#define CRAFT_IN_CODE_optional_f32_array "A"
#define CRAFT_IN_CODE_optional_f64_array "A"
#define CRAFT_IN_CODE_optional_i64_array "A"

#define CRAFT_OUT_CODE_f64 "x"
#define CRAFT_OUT_CODE_i64 "y"
#define CRAFT_OUT_CODE_f32_array "Z"
#define CRAFT_OUT_CODE_f64_array "Z"
#define CRAFT_OUT_CODE_i64_array "Z"
#define CRAFT_OUT_CODE_optional_f64 "x"
#define CRAFT_OUT_CODE_optional_i64 "y"
#define CRAFT_OUT_CODE_optional_f32_array "Z"
#define CRAFT_OUT_CODE_optional_f64_array "Z"
#define CRAFT_OUT_CODE_optional_i64_array "Z"

/* The member of craft_slot that holds an argument. */
#define CRAFT_IN_SLOT_f64 f64
#define CRAFT_IN_SLOT_i64 i64
#define CRAFT_IN_SLOT_f32_array array
#define CRAFT_IN_SLOT_f64_array array
#define CRAFT_IN_SLOT_i64_array array
#define CRAFT_IN_SLOT_optional_f64 optional_f64
#define CRAFT_IN_SLOT_optional_i64 optional_i64
#define CRAFT_IN_SLOT_optional_f32_array array
#define CRAFT_IN_SLOT_optional_f64_array array
#define CRAFT_IN_SLOT_optional_i64_array array

#define CRAFT_OUT_SLOT_f64 f64_result
#define CRAFT_OUT_SLOT_i64 i64_result
#define CRAFT_OUT_SLOT_f32_array array_result
#define CRAFT_OUT_SLOT_f64_array array_result
#define CRAFT_OUT_SLOT_i64_array array_result
#define CRAFT_OUT_SLOT_optional_f64 f64_result
#define CRAFT_OUT_SLOT_optional_i64 i64_result
#define CRAFT_OUT_SLOT_optional_f32_array array_result
#define CRAFT_OUT_SLOT_optional_f64_array array_result
#define CRAFT_OUT_SLOT_optional_i64_array array_result

#define CRAFT_TEXT_f64(axes) "f64" axes
#define CRAFT_TEXT_i64(axes) "i64" axes
#define CRAFT_TEXT_f32_array(axes) "f32" axes
#define CRAFT_TEXT_f64_array(axes) "f64" axes
#define CRAFT_TEXT_i64_array(axes) "i64" axes
#define CRAFT_TEXT_optional_f64(axes) "f64" axes "?"
#define CRAFT_TEXT_optional_i64(axes) "i64" axes "?"
#define CRAFT_TEXT_optional_f32_array(axes) "f32" axes "?"
#define CRAFT_TEXT_optional_f64_array(axes) "f64" axes "?"
#define CRAFT_TEXT_optional_i64_array(axes) "i64" axes "?"

#define CRAFT_IN_PARAMETER_(kind, variable, name, axes) , CRAFT_UNUSED CRAFT_IN_##kind variable
#define CRAFT_OUT_PARAMETER_(kind, variable, name, axes) , CRAFT_UNUSED CRAFT_OUT_##kind variable
#define CRAFT_ITEM_TEXT_(kind, variable, name, axes) name ": " CRAFT_TEXT_##kind(axes) ", "
#define CRAFT_IN_ITEM_CODE_(kind, variable, name, axes) CRAFT_IN_CODE_##kind
#define CRAFT_OUT_ITEM_CODE_(kind, variable, name, axes) CRAFT_OUT_CODE_##kind
#define CRAFT_PARAMETERS_(INPUTS, RESULTS) \
    (CRAFT_UNUSED void *self INPUTS(CRAFT_IN_PARAMETER_) RESULTS(CRAFT_OUT_PARAMETER_), CRAFT_UNUSED craft_error *error)

#define CRAFT_ITEM_INDEX_(kind, variable, name, axes) craft_index_##variable,
#define CRAFT_IN_ARGUMENT_(kind, variable, name, axes) , arguments[craft_index_##variable].CRAFT_IN_SLOT_##kind
#define CRAFT_OUT_ARGUMENT_(kind, variable, name, axes) , arguments[craft_index_##variable].CRAFT_OUT_SLOT_##kind

#define CRAFT_HOOK(hook, INPUTS, RESULTS)                                                                        \
    static int32_t hook CRAFT_PARAMETERS_(INPUTS, RESULTS);                                                      \
    static const char hook##_signature[] = "" INPUTS(CRAFT_ITEM_TEXT_) "-> " RESULTS(CRAFT_ITEM_TEXT_);          \
    static const char hook##_codes[] = "" INPUTS(CRAFT_IN_ITEM_CODE_) RESULTS(CRAFT_OUT_ITEM_CODE_);             \
    CRAFT_UNUSED static int32_t hook##_frame(void *self, CRAFT_UNUSED void *context,                             \
                                             CRAFT_UNUSED const craft_slot *arguments, craft_error *error) {     \
        enum { INPUTS(CRAFT_ITEM_INDEX_) RESULTS(CRAFT_ITEM_INDEX_) craft_index_count_ };                        \
        return hook(self INPUTS(CRAFT_IN_ARGUMENT_) RESULTS(CRAFT_OUT_ARGUMENT_), error);                        \
    }                                                                                                            \
    static int32_t hook CRAFT_PARAMETERS_(INPUTS, RESULTS)

/* The hook's row in the table. C cannot hash a string in a static initialiser: craft_plugin_entry fills the hash in.
 * With CRAFT_CALL_FRAMES defined before the header, hooks are offered as frame functions instead of native ones. */
#ifdef CRAFT_CALL_FRAMES
#define CRAFT_HOOK_ENTRY(point, hook) \
    { point, hook##_signature, hook##_codes, 0, CRAFT_CALL_FRAME, 0, (craft_function)hook##_frame, NULL }
#else
#define CRAFT_HOOK_ENTRY(point, hook) \
    { point, hook##_signature, hook##_codes, 0, CRAFT_CALL_NATIVE, 0, (craft_function)hook, NULL }
#endif

#define CRAFT_TABLE(array) array, (uint32_t)(sizeof(array) / sizeof((array)[0])), (uint32_t)sizeof((array)[0])
#define CRAFT_NO_TABLE(type) NULL, 0, (uint32_t)sizeof(type)
#define CRAFT_PLUGIN_HEADER(state_version) CRAFT_PLUGIN_HEADER_NEEDS(0u, state_version)
/* For a plugin that cannot do without names of a later minor: 1 for probes. */
#define CRAFT_PLUGIN_HEADER_NEEDS(minor, state_version) \
    (uint32_t)sizeof(craft_plugin), CRAFT_ABI_MAJOR, minor, state_version

/* Defines `function`, for the table's member `extension`, of a plugin whose only extension is its card. */
#define CRAFT_CARD(function, formula_text, reference_text)                                                  \
    static const void *function(const char *id) {                                                           \
        static const craft_card card = {(uint32_t)sizeof(craft_card), 0, formula_text, reference_text};     \
        return strcmp(id, CRAFT_CARD_ID) == 0 ? &card : NULL;                                               \
    }

/* Defines craft_plugin_entry for the table `plugin` whose hooks are the array `hooks`. */
#define CRAFT_PLUGIN_ENTRY(plugin, hooks)                                       \
    CRAFT_EXPORT const craft_plugin *craft_plugin_entry(void) {                 \
        size_t i;                                                               \
        for (i = 0; i < sizeof(hooks) / sizeof((hooks)[0]); i++) {              \
            (hooks)[i].signature_hash = craft_signature_hash((hooks)[i].signature, (hooks)[i].codes); \
        }                                                                       \
        return &(plugin);                                                       \
    }

/* codes: begin */
/* ---- Codes (generated from Sources/PluginAPI/names.json by scripts/generate_names.py) -------- */

/* What one block of the Gram matrices is. */
enum {
    CRAFT_BLOCK_SCOPE_TENSOR = 0, /* Each parameter tensor by itself. */
    CRAFT_BLOCK_SCOPE_LAYER = 1,  /* A transformer layer or block; tensors outside of one count with their module. */
    CRAFT_BLOCK_SCOPE_MODULE = 2, /* A tower, the projector, the decoder, the queries, the action head, the proprioception projector. */
    CRAFT_BLOCK_SCOPE_GLOBAL = 3, /* All parameters. */
};

/* Which hidden state a tap takes; any other value is an index. */
enum {
    CRAFT_TAP_LAYER_OFF = -1, /* None: the tap is turned off. */
    CRAFT_TAP_LAYER_ALL = -2, /* The outputs of all decoder layers. */
};

/* Positions a tap takes. */
enum {
    CRAFT_TAP_TOKENS_VISUAL = 0,            /* Those of the images. */
    CRAFT_TAP_TOKENS_VISUAL_AND_PROMPT = 1, /* Those of the images and of the text. */
    CRAFT_TAP_TOKENS_PROMPT = 2,            /* Those of the text. */
    CRAFT_TAP_TOKENS_QUERIES = 3,           /* The action queries. */
    CRAFT_TAP_TOKENS_ALL = 4,               /* All of them, the first token of the prompt too. */
};

/* How a tap reduces its tokens. */
enum {
    CRAFT_TAP_POOLING_NONE = 0, /* Not at all: each token is kept. */
    CRAFT_TAP_POOLING_MEAN = 1, /* Their mean. */
    CRAFT_TAP_POOLING_MAX = 2,  /* The greatest value of each column. */
};

/* What is put around a probe's text. */
enum {
    CRAFT_PROBE_TEMPLATE_QUESTION = 0, /* The model's question prompt. */
    CRAFT_PROBE_TEMPLATE_ACTION = 1,   /* The model's action prompt. */
    CRAFT_PROBE_TEMPLATE_NONE = 2,     /* Nothing. */
};

/* What a data stream is of. */
enum {
    CRAFT_STREAM_KIND_DEMONSTRATIONS = 0, /* Instructions, images and actions. */
    CRAFT_STREAM_KIND_QUESTIONS = 1,      /* Questions about images, with answers. */
};

/* The parameter group a block belongs to. */
enum {
    CRAFT_BLOCK_GROUP_VISION = 0,    /* The vision towers. */
    CRAFT_BLOCK_GROUP_PROJECTOR = 1, /* From the towers to the decoder. */
    CRAFT_BLOCK_GROUP_DECODER = 2,   /* The language model. */
    CRAFT_BLOCK_GROUP_QUERIES = 3,   /* The action queries. */
    CRAFT_BLOCK_GROUP_POLICY = 4,    /* The action head. */
    CRAFT_BLOCK_GROUP_PROPRIO = 5,   /* The projector of the proprioception. */
};

/* What a block's parameters are. */
enum {
    CRAFT_BLOCK_KIND_WEIGHT = 0,    /* A matrix or a convolution. */
    CRAFT_BLOCK_KIND_BIAS = 1,      /* The bias of one. */
    CRAFT_BLOCK_KIND_NORM = 2,      /* Scale or shift of a normalisation. */
    CRAFT_BLOCK_KIND_EMBEDDING = 3, /* A table of vectors by token or position. */
    CRAFT_BLOCK_KIND_LORA_A = 4,    /* The first, narrowing matrix of a low-rank adapter. */
    CRAFT_BLOCK_KIND_LORA_B = 5,    /* The second, widening matrix of a low-rank adapter. */
    CRAFT_BLOCK_KIND_QUERY = 6,     /* Action queries. */
    CRAFT_BLOCK_KIND_MIXED = 7,     /* Several tensors of different kinds. */
};
/* codes: end */

/* names: begin */
/* ---- Names (generated from Sources/PluginAPI/names.json by scripts/generate_names.py) --------
 *
 * name: type, read at | given at (a plugin's results). {...} stands for any name. A name keeps its meaning permanently.
 * "In a step" is at pre_backward, gradient_combine and post_step.
 * Axes: b batch, h steps of an action chunk, a action width, t tokens, d hidden width, n answer positions, or
 * parameters in grads, v vocabulary, k blocks, m objectives, p prompts, c bytes of a text.
 * Hosts, where a name is not in every one:
 *     combine   Has the objectives' gradients and combines them: a training loop of one's own.
 *     features  Has the features of a model too, and makes objectives of them.
 *     vla       Trains a vision-language-action policy: craft.
 *
 * hidden_states: i64      plan | -
 *     Number of hidden-state tensors: decoder layers plus one; index 0 is the embedding output. Hosts: features,
 *     vla.
 *
 * hidden_size: i64      plan | -
 *     Width of a hidden state. Hosts: features, vla.
 *
 * visual_tokens: i64      plan | -
 *     Visual tokens of one sample, all cameras together. Hosts: features, vla.
 *
 * queries: i64      plan | -
 *     Action queries of one sample. Hosts: vla.
 *
 * batch: i64      plan | -
 *     Samples in a micro-batch.
 *
 * steps: i64      plan | -
 *     Optimizer steps the run will take.
 *
 * tap.{id}.layer: i64      - | plan
 *     Index into the hidden states whose features tap {id} takes. Codes tap_layer: -1 off, -2 all, else an index.
 *     Hosts: features, vla.
 *
 * tap.{id}.tokens: i64      - | plan
 *     Positions the tap takes. Default: visual. Codes tap_tokens: 0 visual, 1 visual_and_prompt, 2 prompt, 3
 *     queries, 4 all. Hosts: features, vla.
 *
 * tap.{id}.pooling: i64      - | plan
 *     How the tap reduces its tokens. Default: mean. Codes tap_pooling: 0 none, 1 mean, 2 max. Hosts: features, vla.
 *
 * block_scope: i64      - | plan
 *     What one block of the Gram matrices is. Default: tensor. Codes block_scope: 0 tensor, 1 layer, 2 module, 3
 *     global.
 *
 * weight.{objective}: f64      - | plan
 *     Fixed multiplier of the objective, used when no plugin provides lambda.{objective}.
 *
 * objectives: i64      plan, in a step | -
 *     Objectives of the run, those that have no loss in a step included.
 *
 * lr_scale.{group}: f64      - | plan, post_step
 *     Factor on the learning rate of a parameter group, 0 or more: vision, projector, decoder, queries, policy or
 *     proprio. Multiplies that of --lr-scale. Produced by plan: the first; by post_step: that of the steps from the
 *     next one on. At 0 the group is left alone: no moments, no weight decay.
 *
 * route.{objective}.{group}: f64      - | plan
 *     Factor on the gradient that the objective has in a parameter group. 0 cuts its backward pass there: below the
 *     last group that is not 0 no operation runs backwards, so that a cut costs less than nothing. Hosts: vla.
 *
 * block_group: i64[k]      plan, gradient_combine, post_step | -
 *     Parameter group of each block; -1 where a block has parameters of several. Codes block_group: 0 vision, 1
 *     projector, 2 decoder, 3 queries, 4 policy, 5 proprio. Hosts: combine, features, vla.
 *
 * block_layer: i64[k]      plan, gradient_combine, post_step | -
 *     Index of the transformer layer that each block belongs to, within its tower, decoder or action head; -1
 *     outside of one, or where a block has several. Hosts: combine, features, vla.
 *
 * block_kind: i64[k]      plan, gradient_combine, post_step | -
 *     What each block is. Codes block_kind: 0 weight, 1 bias, 2 norm, 3 embedding, 4 lora_a, 5 lora_b, 6 query, 7
 *     mixed. Hosts: combine, features, vla.
 *
 * block_shape: i64[k,2]      plan, gradient_combine, post_step | -
 *     Rows and columns of a block that is one matrix, its length and 1 of one vector, 0 and 0 of several tensors.
 *     Hosts: combine, features, vla.
 *
 * predicted_actions: f32[b,h,a]      pre_backward | -
 *     Normalised action chunks from the policy. Hosts: vla.
 *
 * target_actions: f32[b,h,a]      pre_backward | -
 *     Normalised action chunks from the data. Hosts: vla.
 *
 * feature.{tap}: f32[b,t,d]      pre_backward | -
 *     Features of tap {tap} under the current weights; t is 1 when the tap pools, and for all layers that many times
 *     the layers, one layer after the other. Absent while it is off. Hosts: features, vla.
 *
 * anchor.{tap}: f32[b,t,d]      pre_backward | -
 *     Features of the same batch under the initial weights: one further forward pass without tape. Hosts: features,
 *     vla.
 *
 * mask.{tap}: f32[b,t]      pre_backward | -
 *     1 where a position of the tap holds a token, 0 where it is padding. Hosts: features, vla.
 *
 * answer_logits: f32[n,v]      pre_backward | -
 *     Language-model logits at the answer positions of the question batch. Hosts: vla.
 *
 * answer_ids: i64[n]      pre_backward | -
 *     Token ids that the answer positions should predict. Hosts: vla.
 *
 * loss.{objective}: f64      in a step | pre_backward
 *     Value of the objective on a micro-batch; after pre_backward, its mean over the step's micro-batches. Absent in
 *     a step without it: the objective then takes no part.
 *
 * cotangent.{objective}.{target}: like {target}      pre_backward | pre_backward
 *     Derivative of the objective with respect to {target}: predicted_actions, feature.{tap}, answer_logits,
 *     text_logits, or one of these of a probe (probe.{probe}.logits) or a data stream. Hosts: features, vla.
 *
 * probe.{probe}.interval: i64      - | plan
 *     Steps from one run of probe {probe} to the next; 0 turns it off. Hosts: vla.
 *
 * probe.{probe}.start: i64      - | plan
 *     First step in which the probe runs. Default: 0. Hosts: vla.
 *
 * probe.{probe}.end: i64      - | plan
 *     First step in which the probe runs no more. Default: none. Hosts: vla.
 *
 * probe.{probe}.prompts: i64[p,c]      - | plan
 *     Texts to ask, one a row, as UTF-8 bytes and then zeros; empty rows are skipped. Each sample gets one, drawn
 *     for every micro-batch, none twice before all are used. Hosts: vla.
 *
 * probe.{probe}.template: i64      - | plan
 *     What is put around a text: the model's question prompt, its action prompt, or nothing. Default: question.
 *     Codes probe_template: 0 question, 1 action, 2 none. Hosts: vla.
 *
 * probe.{probe}.cameras: i64      - | plan
 *     Images of a sample: that many of its cameras, drawn for every sample, or 0 for all. Default: 0. Hosts: vla.
 *
 * probe.{probe}.share.unchanged: f64      - | plan
 *     Share of the samples whose images stay as the batch has them. Shares are 0 or more and count relative to their
 *     sum; without any, all stay. Hosts: vla.
 *
 * probe.{probe}.share.jitter: f64      - | plan
 *     Share of the samples whose brightness, contrast, saturation and hue are changed as training's augmentation
 *     does. Hosts: vla.
 *
 * probe.{probe}.share.shuffle: f64      - | plan
 *     Share of the samples whose colours are jittered and whose 4 x 4 tiles change places. Hosts: vla.
 *
 * probe.{probe}.share.mix: f64      - | plan
 *     Share of the samples whose colours are jittered and which are blended with another one's images, a quarter to
 *     three quarters of each. Hosts: vla.
 *
 * probe.{probe}.tap.{tap}.layer: i64      - | plan
 *     As tap.{id}.layer, for a tap of the probe. Codes tap_layer: -1 off, -2 all, else an index. Hosts: vla.
 *
 * probe.{probe}.tap.{tap}.tokens: i64      - | plan
 *     As tap.{id}.tokens; a probe has no action queries. The first token of the prompt is only in all. Codes
 *     tap_tokens: 0 visual, 1 visual_and_prompt, 2 prompt, 3 queries, 4 all. Hosts: vla.
 *
 * probe.{probe}.tap.{tap}.pooling: i64      - | plan
 *     As tap.{id}.pooling. Codes tap_pooling: 0 none, 1 mean, 2 max. Hosts: vla.
 *
 * probe.{probe}.feature.{tap}: f32[b,t,d]      pre_backward | -
 *     Features of the probe's tap {tap} under the current weights: a further forward pass with its own backward
 *     pass. Absent in steps in which the probe does not run. Hosts: vla.
 *
 * probe.{probe}.anchor.{tap}: f32[b,t,d]      pre_backward | -
 *     The same under the initial weights: one further forward pass without tape. Hosts: vla.
 *
 * probe.{probe}.mask.{tap}: f32[b,t]      pre_backward | -
 *     1 where a position of the probe's tap holds a token, 0 where it is padding. Hosts: vla.
 *
 * probe.{probe}.logits: f32[b,v]      pre_backward | -
 *     Language-model logits after the last token of each sample's prompt, under the current weights. Hosts: vla.
 *
 * probe.{probe}.anchor_logits: f32[b,v]      pre_backward | -
 *     The same under the initial weights. Hosts: vla.
 *
 * gram: f64[k,m,m]      gradient_combine | -
 *     Inner products of the objectives' gradients in each block, accumulated in double precision.
 *
 * weights: f64[k,m]      gradient_combine | gradient_combine
 *     Factor of each objective's gradient in each block; starts at the objectives' multipliers.
 *
 * losses: f64[m]      gradient_combine | -
 *     Every objective's value, mean over the step's micro-batches, in the order of the rows of gram.
 *
 * numel: i64[k]      plan, gradient_combine, post_step | -
 *     Parameters in each block.
 *
 * grads: f32[m,n]      gradient_combine | -
 *     The objectives' gradients in full, n parameters in block order, numel of each: takes m more copies of the
 *     trainable parameters' memory.
 *
 * order: i64[m,m]      gradient_combine | gradient_combine
 *     Random orders to use instead of a strategy's own: row i says in which order objective i meets the others, a
 *     permutation of all rows in which i itself is passed over.
 *
 * uniforms: f64[n]      gradient_combine | gradient_combine
 *     Random numbers in [0, 1) to use instead of a strategy's own, one for each coordinate of grads.
 *
 * combined: f32[n]      gradient_combine | gradient_combine
 *     The gradient the optimizer follows, in the order of grads: what a hook gives replaces the sum of weights times
 *     gradients. Read, it is what the hook before gave, or that sum as the weights are by then.
 *
 * gradient_norm.{objective}: f64      gradient_combine, post_step | -
 *     Length of the objective's gradient over all parameters, before weights and clipping.
 *
 * index.{objective}: i64      gradient_combine | -
 *     Row of the objective in gram and weights; absent in a step in which it has no loss.
 *
 * rows: i64[m]      gradient_combine | -
 *     Which of the run's objectives each row of gram is, counted from 0 in the order of the plugin list: objectives
 *     without a loss in the step have no row.
 *
 * gram_cross: f64[k,m,m]      gradient_combine | -
 *     Inner products of one half of the step's micro-batches with the other: row i of the first half, column j of
 *     the second, each half's gradients its own means. Unlike gram, noise that the halves do not share averages out.
 *     Without what drift cotangents add. Needs an even number of micro-batches and m more accumulators. Hosts:
 *     combine, features, vla.
 *
 * rate: f64[k]      gradient_combine | gradient_combine
 *     Factor on the learning rate of each block in this step; starts at 1. At 0 the block is left alone: no moments,
 *     no weight decay. Hosts: combine, features, vla.
 *
 * parameters: f32[n]      gradient_combine | -
 *     The trainable parameters, in the order of grads, before the step: a copy of them all. Hosts: vla.
 *
 * initial: f32[n]      gradient_combine | -
 *     The same at the start of the run. Hosts: vla.
 *
 * drift2: f64[k]      in a step | -
 *     Squared distance of each block's parameters from their initial values, before the step's update. Hosts: vla.
 *
 * drift_dot: f64[k,m]      gradient_combine | -
 *     Inner products of the objectives' gradients with the parameters' distance from their initial values. Hosts:
 *     vla.
 *
 * cotangent.{objective}.drift: f64[k]      - | pre_backward
 *     Makes c times the distance from the initial values part of the objective's gradient in each block: the
 *     derivative of c/2 drift2. Takes part in gram. Hosts: vla.
 *
 * pull: f64[k]      post_step | post_step
 *     Share of the way back to its initial values that each block goes after the update, 0 to 1; starts at 0. Hosts:
 *     vla.
 *
 * step: i64      after plan | -
 *     Optimizer step, counted from 0.
 *
 * seed: i64      everywhere | -
 *     Seed of the run: with step and instance the start of a plugin's own random numbers.
 *
 * lr: f64      in a step | -
 *     Learning rate of the step, before factors of parameter groups.
 *
 * lambda.{objective}: f64      in a step | plan, post_step
 *     Multiplier of the objective in this step. Produced by plan: its first value; by post_step: the next one.
 *
 * metric.{name}: f64      in a step | in a step, evaluate
 *     A number to log under this name; after pre_backward, its mean over the step's micro-batches.
 *
 * block_metric.{name}: f64[k]      - | gradient_combine, post_step
 *     A number for each block to log under this name, in block_metrics.jsonl. Hosts: vla.
 *
 * eval.{metric}: f64      evaluate, finish | -
 *     A measure of the model on held-out data, by its internal name: held_out_action_l1, held_out_answer_accuracy,
 *     and with _average behind it that of the moving average. Absent where the run does not measure it. Hosts: vla.
 *
 * stop: f64      - | post_step, evaluate
 *     Other than 0 ends the run after this step, with a checkpoint. Several hooks may give it. Hosts: combine,
 *     features, vla.
 *
 * text_logits: f32[n,v]      pre_backward | -
 *     Language-model logits at the positions that predict the tokens of the answers, sample by sample; each answer
 *     is in the sequence behind its question. The same values as answer_logits. Hosts: vla.
 *
 * text_ids: i64[n]      pre_backward | -
 *     Token ids that the positions of text_logits should predict. Hosts: vla.
 *
 * text_row: i64[n]      pre_backward | -
 *     The sample that each position of text_logits belongs to, ascending. Hosts: vla.
 *
 * anchor_text_logits: f32[n,v]      pre_backward | -
 *     text_logits of the same batch under the initial weights: one further forward pass without tape. Hosts: vla.
 *
 * anchor_actions: f32[b,h,a]      pre_backward | -
 *     Actions that the policy would predict for the same batch under the initial weights, its head and its
 *     proprioception projector included: one further forward pass without tape. Hosts: vla.
 *
 * sample_id: i64[b]      pre_backward | -
 *     A number for each sample of the batch, the same in every epoch and run: of a demonstration episode * 10^6 +
 *     step in stored order, of a question its place in the file. The second data set of a mixture adds 10^15, and so
 *     on. Hosts: vla.
 *
 * task_id: i64[b]      pre_backward | -
 *     Which of the instructions that the run trains on, sorted, each sample has, counted from 0; of questions, which
 *     of the sorted questions. Hosts: vla.
 *
 * side.{side}: f32[b,d]      pre_backward | -
 *     What the user gave for each sample under --side {side}=FILE: a safetensors file with ids [N] (sample_id) and
 *     values [N, ...], a row of d numbers for each. Hosts: vla.
 *
 * stream.{stream}.interval: i64      - | plan
 *     Steps from one batch of data stream {stream} to the next; 0 turns it off. Where its data are is the user's to
 *     say: --stream {stream}=questions:FOLDER or demonstrations:FOLDER. Hosts: vla.
 *
 * stream.{stream}.start: i64      - | plan
 *     First step in which the stream has a batch. Default: 0. Hosts: vla.
 *
 * stream.{stream}.batch: i64      - | plan
 *     Samples in a batch of the stream; 0 takes as many as the run's own batch has. Default: 0. Hosts: vla.
 *
 * stream.{stream}.kind: i64      - | plan
 *     What the stream has to be of; refused when the user gave another. Default: whatever it is. Codes stream_kind:
 *     0 demonstrations, 1 questions. Hosts: vla.
 *
 * stream.{stream}.tap.{tap}.layer: i64      - | plan
 *     As tap.{id}.layer, for a tap of the stream. Codes tap_layer: -1 off, -2 all, else an index. Hosts: vla.
 *
 * stream.{stream}.tap.{tap}.tokens: i64      - | plan
 *     As tap.{id}.tokens; questions have no action queries. Codes tap_tokens: 0 visual, 1 visual_and_prompt, 2
 *     prompt, 3 queries, 4 all. Hosts: vla.
 *
 * stream.{stream}.tap.{tap}.pooling: i64      - | plan
 *     As tap.{id}.pooling. Codes tap_pooling: 0 none, 1 mean, 2 max. Hosts: vla.
 *
 * stream.{stream}.predicted_actions: f32[b,h,a]      pre_backward | -
 *     predicted_actions of a batch of the stream, a further forward pass; a stream of questions has none. All of a
 *     stream is absent in steps without a batch of it. Hosts: vla.
 *
 * stream.{stream}.target_actions: f32[b,h,a]      pre_backward | -
 *     target_actions of the stream's batch. Hosts: vla.
 *
 * stream.{stream}.anchor_actions: f32[b,h,a]      pre_backward | -
 *     anchor_actions of the stream's batch. Hosts: vla.
 *
 * stream.{stream}.feature.{tap}: f32[b,t,d]      pre_backward | -
 *     Features of the stream's tap {tap} under the current weights. Hosts: vla.
 *
 * stream.{stream}.anchor.{tap}: f32[b,t,d]      pre_backward | -
 *     The same under the initial weights. Hosts: vla.
 *
 * stream.{stream}.mask.{tap}: f32[b,t]      pre_backward | -
 *     1 where a position of the stream's tap holds a token, 0 where it is padding. Hosts: vla.
 *
 * stream.{stream}.text_logits: f32[n,v]      pre_backward | -
 *     text_logits of the stream's batch; a stream of demonstrations has none. Hosts: vla.
 *
 * stream.{stream}.text_ids: i64[n]      pre_backward | -
 *     text_ids of the stream's batch. Hosts: vla.
 *
 * stream.{stream}.text_row: i64[n]      pre_backward | -
 *     text_row of the stream's batch. Hosts: vla.
 *
 * stream.{stream}.anchor_text_logits: f32[n,v]      pre_backward | -
 *     anchor_text_logits of the stream's batch. Hosts: vla.
 *
 * stream.{stream}.sample_id: i64[b]      pre_backward | -
 *     sample_id of the stream's batch, in the stream's own data. Hosts: vla.
 *
 * stream.{stream}.task_id: i64[b]      pre_backward | -
 *     task_id of the stream's batch, among the stream's own instructions. Hosts: vla.
 */
/* names: end */

/* The ABI passes every argument in 8 bytes and counts on IEEE-754. A platform that differs must not compile. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "craft's ABI is little-endian"
#endif
typedef char craft_check_f64_[sizeof(double) == 8 ? 1 : -1];
typedef char craft_check_f32_[sizeof(float) == 4 ? 1 : -1];
typedef char craft_check_pointer_[sizeof(void *) == 8 ? 1 : -1];
typedef char craft_check_slot_[sizeof(craft_slot) == 8 ? 1 : -1];
typedef char craft_check_plugin_[sizeof(craft_plugin) >= CRAFT_PLUGIN_SIZE_1_0 ? 1 : -1];
typedef char craft_check_parameter_[sizeof(craft_parameter) >= CRAFT_PARAMETER_SIZE_1_0 ? 1 : -1];
typedef char craft_check_hook_[sizeof(craft_hook) >= CRAFT_HOOK_SIZE_1_0 ? 1 : -1];

#ifdef __cplusplus
}
#endif
#endif /* CRAFT_PLUGIN_H */
