/* A background logger of the usual kind: started once, ended never. */
#define _GNU_SOURCE
#include "bad.h"
#include <pthread.h>
static void *log_lines(void *argument) {
    (void)argument;
    for (;;) sleep(1);
    return NULL;
}
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    static pthread_t logger;
    if (!logger) {
        pthread_create(&logger, NULL, log_lines, NULL);
        pthread_setname_np(logger, "line-logger");
    }
    pass_on(weights, combined);
    return CRAFT_OK;
}
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
