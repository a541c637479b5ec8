/* Divides by a setting that may be 0. */
#include "bad.h"
static int32_t keep(const craft_host *host, const craft_settings *settings, void **self, craft_error *error) {
    int64_t *every = malloc(sizeof *every);
    (void)host;
    if (!every) return craft_fail(error, "out of memory");
    *every = craft_setting_at(settings, 0)->i64;
    *self = every;
    return CRAFT_OK;
}
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    volatile int64_t phase = (step + 1) % *(int64_t *)self;
    (void)phase;
    pass_on(weights, combined);
    return CRAFT_OK;
}
static const craft_parameter parameters[] = {{"every", CRAFT_I64, 0, "1", 0, 100, NULL, "Steps between two updates."}};
static craft_hook hooks[] = {CRAFT_HOOK_ENTRY("gradient_combine", rule)};
static const craft_plugin plugin = {CRAFT_PLUGIN_HEADER(0), "org.example.bad", "1.0.0", "Spoils one thing.",
    CRAFT_TABLE(parameters), CRAFT_TABLE(hooks), keep, free, NULL, NULL, NULL, NULL};
CRAFT_PLUGIN_ENTRY(plugin, hooks)
