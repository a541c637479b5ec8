/* Takes what one read gives for everything. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    ((rule_state *)self)->calls++;
    pass_on(weights, combined);
    return CRAFT_OK;
}
static int32_t load_once(void *self, const craft_input *input, uint32_t version, craft_error *error) {
    rule_state state;
    (void)version;
    if (input->read(input->context, &state, sizeof state) != (int64_t)sizeof state)
        return craft_fail(error, "the state is truncated");
    *(rule_state *)self = state;
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", make, free, save_whole, load_once, NULL)
