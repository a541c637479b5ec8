/* Crashes where CRASH says, hangs where HANG does, and ends the process with the status that EXIT says. */
#include "bad.h"
#include <pthread.h>
static void at(const char *place) {
    const char *crash = getenv("CRASH"), *hang = getenv("HANG");
    if (crash && !strcmp(crash, place)) *(volatile int *)NULL = 1;
    if (hang && !strcmp(hang, place)) for (;;) sleep(1);
}
__attribute__((constructor)) static void opening(void) { at("opening"); }
static void *own_thread(void *argument) {
    (void)argument;
    at("thread");
    return NULL;
}
static int32_t make_it(const craft_host *host, const craft_settings *settings, void **self, craft_error *error) {
    (void)host, (void)settings, (void)error;
    *self = NULL;
    at("create");
    return CRAFT_OK;
}
static int32_t save_it(void *self, const craft_output *output, craft_error *error) {
    (void)self, (void)output, (void)error;
    at("save");
    return CRAFT_OK;
}
static int32_t load_it(void *self, const craft_input *input, uint32_t version, craft_error *error) {
    (void)self, (void)input, (void)version, (void)error;
    at("load");
    return CRAFT_OK;
}
#define PLAN_OUT(X) X(i64, scope, "block_scope", "")
CRAFT_HOOK(planning, CRAFT_NONE, PLAN_OUT) {
    at("plan");
    *scope = 0;
    return CRAFT_OK;
}
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) {
    const char *status = getenv("EXIT"), *plain = getenv("PLAIN_EXIT");
    if (step == 2) {
        if (status) exit(atoi(status));
        if (plain) _exit(atoi(plain));
        if (getenv("CRASH") && !strcmp(getenv("CRASH"), "thread")) {
            pthread_t thread;
            pthread_create(&thread, NULL, own_thread, NULL);
            pthread_join(thread, NULL);
        }
    }
    pass_on(weights, combined);
    return CRAFT_OK;
}
static craft_hook hooks[] = {CRAFT_HOOK_ENTRY("plan", planning), CRAFT_HOOK_ENTRY("gradient_combine", rule)};
static const craft_plugin plugin = {CRAFT_PLUGIN_HEADER(1), "org.example.crash", "1.0.0", "Crashes on demand.",
    CRAFT_NO_TABLE(craft_parameter), CRAFT_TABLE(hooks), make_it, NULL, save_it, load_it, NULL, NULL};
#define craft_plugin_entry make_entry
CRAFT_PLUGIN_ENTRY(plugin, hooks)
#undef craft_plugin_entry
CRAFT_EXPORT const craft_plugin *craft_plugin_entry(void) {
    at("entry");
    return make_entry();
}
