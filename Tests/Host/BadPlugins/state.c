/* Saves the number of calls and forgets the average. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    rule_state *state = self;
    if (isfinite(loss)) state->average = 0.5 * state->average + 0.5 * fmin(loss, 10);
    state->calls++;
    pass_on(weights, combined);
    craft_write_f64(combined)[0] += state->average;
    return CRAFT_OK;
}
static int32_t save_half(void *self, const craft_output *output, craft_error *error) {
    int64_t *calls = &((rule_state *)self)->calls;
    return output->write(output->context, calls, 8) == 8 ? CRAFT_OK : craft_fail(error, "the state could not be written");
}
static int32_t load_half(void *self, const craft_input *input, uint32_t version, craft_error *error) {
    int64_t calls;
    (void)version;
    if (!read_all(input, &calls, 8)) return craft_fail(error, "the state is truncated");
    ((rule_state *)self)->calls = calls;
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", make, free, save_half, load_half, NULL)
