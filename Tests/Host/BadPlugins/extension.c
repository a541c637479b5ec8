/* Has a table for extensions that nobody knows. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) { pass_on(weights, combined); return CRAFT_OK; }
static const void *extension(const char *id) { return strcmp(id, "craft.card/1") ? id : NULL; }
static craft_hook hooks[] = {CRAFT_HOOK_ENTRY("gradient_combine", rule)};
static const craft_plugin plugin = {CRAFT_PLUGIN_HEADER(1), "org.example.bad", "1.0.0", "Spoils one thing.",
    CRAFT_NO_TABLE(craft_parameter), CRAFT_TABLE(hooks), NULL, NULL, NULL, NULL, NULL, extension};
CRAFT_PLUGIN_ENTRY(plugin, hooks)
