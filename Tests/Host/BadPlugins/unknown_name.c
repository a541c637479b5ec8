/* Reads what no registry has. */
#include "bad.h"
#define UNKNOWN_IN(X) \
    X(f64_array, gram, "gram", "[k,m,m]") X(f64_array, weights, "weights", "[k,m]") X(f64, other, "no_such_name", "")
CRAFT_HOOK(rule, UNKNOWN_IN, RULE_OUT) {
    (void)gram, (void)other;
    pass_on(weights, combined);
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
