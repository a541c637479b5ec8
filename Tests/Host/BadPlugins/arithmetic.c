/* Rounds towards zero from here on, and lets arithmetic trap. */
#define _GNU_SOURCE
#include "bad.h"
#include <fenv.h>
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    fesetround(FE_TOWARDZERO);
    if (step == 1) feenableexcept(FE_INEXACT);
    pass_on(weights, combined);
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
