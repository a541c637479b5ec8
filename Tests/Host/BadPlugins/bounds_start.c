/* Reads the element before the first. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    volatile double before = craft_read_f64(weights)[-1];
    (void)before;
    pass_on(weights, combined);
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
