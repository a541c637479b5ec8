/* Divides by a squared norm without asking whether it is 0. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    pass_on(weights, combined);
    if (loss == 0) craft_write_f64(combined)[0] *= craft_read_f64(gram)[0] / craft_read_f64(gram)[0];
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
