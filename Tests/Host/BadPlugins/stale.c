/* Keeps a pointer to an input beyond the call. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    static const double *kept;
    volatile double earlier = kept ? kept[0] : 0;
    (void)earlier;
    kept = craft_read_f64(gram);
    pass_on(weights, combined);
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
