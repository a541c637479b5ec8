/* Forgets the last weight. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    memcpy(combined->data, weights->data, (size_t)(craft_count(weights) - 1) * sizeof(double));
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
