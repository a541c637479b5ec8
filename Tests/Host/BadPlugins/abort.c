/* Asserts what no host promised. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    if (loss == 0) abort();
    pass_on(weights, combined);
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
