/* A search that ends when a number is small enough; NaN never is. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    volatile double x = loss;
    while (!(x < 1)) x /= 2;
    pass_on(weights, combined);
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
