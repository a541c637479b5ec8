/* Sets the locale, as a text library does. */
#include "bad.h"
#include <locale.h>
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    setlocale(LC_ALL, step % 2 ? "C" : "C.UTF-8");
    pass_on(weights, combined);
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
