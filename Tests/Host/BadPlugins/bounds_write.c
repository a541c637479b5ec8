/* Writes one weight too many. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    pass_on(weights, combined);
    craft_write_f64(combined)[craft_count(combined)] = 1;
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
