/* A version nobody can compare. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) { pass_on(weights, combined); return CRAFT_OK; }
RULE_PLUGIN("newest", NULL, NULL, NULL, NULL, NULL)
