/* Uses an index from the file without a look at it. */
#include "bad.h"
static double table[4];
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    rule_state *state = self;
    state->calls = (state->calls + 1) & ~(int64_t)3;
    pass_on(weights, combined);
    craft_write_f64(combined)[0] += *(volatile double *)&table[state->calls];
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", make, free, save_whole, load_whole, NULL)
