/* A signature that was edited by hand: its hash is of another one. */
#include "bad.h"
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) { pass_on(weights, combined); return CRAFT_OK; }
static craft_hook hooks[] = {CRAFT_HOOK_ENTRY("gradient_combine", rule)};
static const craft_plugin plugin = {CRAFT_PLUGIN_HEADER(0), "org.example.bad", "1.0.0", "Spoils one thing.",
    CRAFT_NO_TABLE(craft_parameter), CRAFT_TABLE(hooks), NULL, NULL, NULL, NULL, NULL, NULL};
CRAFT_EXPORT const craft_plugin *craft_plugin_entry(void) { hooks[0].signature_hash = 12345; return &plugin; }
