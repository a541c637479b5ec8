/* Creates instances that keep files from others. */
#include "bad.h"
#include <sys/stat.h>
static int32_t make_private(const craft_host *host, const craft_settings *settings, void **self, craft_error *error) {
    (void)host, (void)settings, (void)error;
    *self = NULL;
    umask(0077);
    return CRAFT_OK;
}
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) { pass_on(weights, combined); return CRAFT_OK; }
RULE_PLUGIN("1.0.0", make_private, NULL, NULL, NULL, NULL)
