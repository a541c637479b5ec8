/* The square of a small number is 0, and its inverse infinite. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    double square = loss * loss;
    pass_on(weights, combined);
    if (loss > 0) craft_write_f64(combined)[0] = 1 / square;
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
