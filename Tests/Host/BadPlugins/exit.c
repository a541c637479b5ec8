/* Ends the process when it does not like a number. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    if (loss > 1e100) exit(0);
    pass_on(weights, combined);
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
