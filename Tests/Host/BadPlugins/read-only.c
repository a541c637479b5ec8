/* Normalises its input in place. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    ((double *)gram->data)[0] = 1;
    pass_on(weights, combined);
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
