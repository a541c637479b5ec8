/* Fails without a word. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    if (gram->shape[1] == 1) return CRAFT_FAILED;
    pass_on(weights, combined);
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
