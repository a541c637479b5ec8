/* Blocks Ctrl-C and lets it through in turn. */
#define _GNU_SOURCE
#include "bad.h"
#include <signal.h>
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    pthread_sigmask(step % 2 ? SIG_UNBLOCK : SIG_BLOCK, &set, NULL);
    pass_on(weights, combined);
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
