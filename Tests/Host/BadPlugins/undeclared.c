/* Reads an argument that its signature does not declare. */
#include "bad.h"
static int32_t rule(void *self, void *context, const craft_slot *arguments, craft_error *error) {
    (void)self, (void)context, (void)error;
    *arguments[1].f64_result = arguments[0].f64 + (arguments[2].i64 == 7 ? 1 : 0);
    return CRAFT_OK;
}
static craft_hook hooks[] = {
    {"post_step", "loss.action: f64 -> metric.sum: f64", "dx", 0, CRAFT_CALL_FRAME, 0, (craft_function)rule, NULL}};
static const craft_plugin plugin = {CRAFT_PLUGIN_HEADER(0), "org.example.bad", "1.0.0", "Spoils one thing.",
    CRAFT_NO_TABLE(craft_parameter), CRAFT_TABLE(hooks), NULL, NULL, NULL, NULL, NULL, NULL};
CRAFT_PLUGIN_ENTRY(plugin, hooks)
