/* Counts in a global variable, from 0 again when an instance is created. */
#include "bad.h"
static int64_t calls;
static int32_t start(const craft_host *host, const craft_settings *settings, void **self, craft_error *error) {
    (void)host, (void)settings, (void)error;
    calls = 0;
    *self = NULL;
    return CRAFT_OK;
}
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    pass_on(weights, combined);
    craft_write_f64(combined)[0] += (double)calls++;
    return CRAFT_OK;
}
static int32_t save_calls(void *self, const craft_output *output, craft_error *error) {
    (void)self;
    return output->write(output->context, &calls, 8) == 8 ? CRAFT_OK : craft_fail(error, "the state could not be written");
}
static int32_t load_calls(void *self, const craft_input *input, uint32_t version, craft_error *error) {
    int64_t read;
    (void)self, (void)version;
    if (!read_all(input, &read, 8)) return craft_fail(error, "the state is truncated");
    calls = read;
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", start, NULL, save_calls, load_calls, NULL)
