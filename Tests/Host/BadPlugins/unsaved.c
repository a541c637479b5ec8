/* Has state and no functions to save it. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    rule_state *state = self;
    pass_on(weights, combined);
    craft_write_f64(combined)[0] += (double)state->calls++;
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", make, free, NULL, NULL, NULL)
