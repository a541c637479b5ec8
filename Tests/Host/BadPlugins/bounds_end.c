/* Reads one element too many. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    volatile double beyond = craft_read_f64(gram)[craft_count(gram)];
    (void)beyond;
    pass_on(weights, combined);
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
