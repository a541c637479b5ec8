/* Resets one of two numbers. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    ((rule_state *)self)->calls++;
    pass_on(weights, combined);
    return CRAFT_OK;
}
static int32_t reset_half(void *self, craft_error *error) {
    (void)error;
    ((rule_state *)self)->average = 0;
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", make, free, save_whole, load_whole, reset_half)
