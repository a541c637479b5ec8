/* Blocks Ctrl-C. */
#define _GNU_SOURCE
#include "bad.h"
#include <signal.h>
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)step;
    pass_on(weights, combined);
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
