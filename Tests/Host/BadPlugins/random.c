/* Knows two objectives only, and crashes with three. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    if (gram->shape[1] == 3) *(volatile int *)NULL = 1;
    pass_on(weights, combined);
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
