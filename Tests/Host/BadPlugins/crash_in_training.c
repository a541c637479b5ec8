/* Crashes in the fourth step of a run. */
#include "bad.h"
#define STEP_IN(X) X(i64, step, "step", "")
#define STEP_OUT(X) X(f64, metric, "metric.crash", "")
CRAFT_HOOK(count, STEP_IN, STEP_OUT) {
    *metric = (double)step;
    if (step == 3) *(volatile int *)NULL = 1;
    return CRAFT_OK;
}
static craft_hook hooks[] = {CRAFT_HOOK_ENTRY("post_step", count)};
static const craft_plugin plugin = {CRAFT_PLUGIN_HEADER(0), "org.example.crash", "1.0.0", "Crashes.",
    CRAFT_NO_TABLE(craft_parameter), CRAFT_TABLE(hooks), NULL, NULL, NULL, NULL, NULL, NULL};
CRAFT_PLUGIN_ENTRY(plugin, hooks)
