/* Exports a helper. */
#include "bad.h"
CRAFT_EXPORT int helper_that_everybody_sees(void);
CRAFT_EXPORT int helper_that_everybody_sees(void) { return 1; }
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) { pass_on(weights, combined); return CRAFT_OK; }
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
