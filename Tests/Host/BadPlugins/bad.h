/* What the bad plugins share: one hook that passes the weights on, and a table. Each file spoils one thing. */
#include <craft_plugin.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RULE_IN(X)                                                                                        \
    X(f64_array, gram, "gram", "[k,m,m]") X(f64_array, weights, "weights", "[k,m]") X(f64, loss, "loss.action", "") \
    X(i64, step, "step", "")
#define RULE_OUT(X) X(f64_array, combined, "weights", "[k,m]")

CRAFT_UNUSED static void pass_on(const craft_array *weights, craft_array *combined) {
    memcpy(combined->data, weights->data, (size_t)craft_count(weights) * sizeof(double));
}

#define RULE_PLUGIN(version, create, destroy, save, load, reset)                                              \
    static craft_hook hooks[] = {CRAFT_HOOK_ENTRY("gradient_combine", rule)};                                 \
    static const craft_plugin plugin = {CRAFT_PLUGIN_HEADER(1), "org.example.bad", version, "Spoils one thing.", \
        CRAFT_NO_TABLE(craft_parameter), CRAFT_TABLE(hooks), create, destroy, save, load, reset, NULL};       \
    CRAFT_PLUGIN_ENTRY(plugin, hooks)

/* State of two numbers, for those that have some. */
typedef struct rule_state { double average; int64_t calls; } rule_state;

CRAFT_UNUSED static int32_t make(const craft_host *host, const craft_settings *settings, void **self, craft_error *error) {
    (void)host, (void)settings;
    *self = calloc(1, sizeof(rule_state));
    return *self ? CRAFT_OK : craft_fail(error, "out of memory");
}

CRAFT_UNUSED static int32_t save_whole(void *self, const craft_output *output, craft_error *error) {
    return output->write(output->context, self, sizeof(rule_state)) == (int64_t)sizeof(rule_state)
        ? CRAFT_OK : craft_fail(error, "the state could not be written");
}

/* Reads until `size` bytes are there; 0 when there are fewer. */
CRAFT_UNUSED static int read_all(const craft_input *input, void *data, uint64_t size) {
    uint64_t done = 0;
    while (done < size) {
        int64_t got = input->read(input->context, (char *)data + done, size - done);
        if (got <= 0) return 0;
        done += (uint64_t)got;
    }
    return 1;
}

CRAFT_UNUSED static int32_t load_whole(void *self, const craft_input *input, uint32_t version, craft_error *error) {
    rule_state state;
    (void)version;
    if (!read_all(input, &state, sizeof state)) return craft_fail(error, "the state is truncated");
    *(rule_state *)self = state;
    return CRAFT_OK;
}
