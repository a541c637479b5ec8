/* Never frees its instances. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) { pass_on(weights, combined); return CRAFT_OK; }
RULE_PLUGIN("1.0.0", make, NULL, save_whole, load_whole, NULL)
