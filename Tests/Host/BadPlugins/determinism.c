/* Uses memory that it never wrote. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    unsigned char *volatile dirt = malloc(64);
    if (!dirt) return craft_fail(error, "out of memory");
    pass_on(weights, combined);
    craft_write_f64(combined)[0] += dirt[40];
    free(dirt);
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
