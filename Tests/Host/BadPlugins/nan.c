/* An average that one NaN spoils forever. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    rule_state *state = self;
    state->average = 0.9 * state->average + 0.1 * loss;
    pass_on(weights, combined);
    craft_write_f64(combined)[0] += state->average;
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", make, free, save_whole, load_whole, NULL)
