/* Takes half a state for a whole one. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    ((rule_state *)self)->calls++;
    pass_on(weights, combined);
    return CRAFT_OK;
}
static int32_t load_some(void *self, const craft_input *input, uint32_t version, craft_error *error) {
    (void)version, (void)error;
    read_all(input, self, sizeof(rule_state));
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", make, free, save_whole, load_some, NULL)
