/* Resets the handlers of signals, as embedded runtimes do. */
#include "bad.h"
#include <signal.h>
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    if (step == 1) signal(SIGINT, SIG_IGN), signal(SIGTERM, SIG_IGN);
    pass_on(weights, combined);
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
