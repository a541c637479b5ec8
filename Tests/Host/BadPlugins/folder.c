/* Goes elsewhere, as a library that loads its own files does. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    if (step == 2 && chdir("/")) return craft_fail(error, "chdir failed");
    pass_on(weights, combined);
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
