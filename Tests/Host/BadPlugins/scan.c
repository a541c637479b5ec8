/* Works for half a second while it is opened. */
#include "bad.h"
__attribute__((constructor)) static void prepare(void) { usleep(500000); }
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) { pass_on(weights, combined); return CRAFT_OK; }
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
