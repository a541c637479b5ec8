/* Two sessions on two threads: one is inside of a slow hook when a hook of the other one crashes.
 *
 *     crash FOLDERS PLUGIN OTHER */
#define _DEFAULT_SOURCE
#include <craft_runtime.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static const char *folders;

static void handled(int number) {
    (void)number;
    if (write(2, "the host's own handler\n", 23) < 0) _exit(1);
    _exit(9);
}

static void *step(void *argument) {
    const char *plugin = argument;
    const int64_t numel[] = {3};
    const double gram[] = {1, 0, 0, 1}, losses[] = {1, 2};
    double weights[2];
    craft_runtime_block_table table;
    craft_runtime_gradients gradients;
    craft_runtime *s = craft_runtime_open(plugin, folders, "action,other");
    memset(&table, 0, sizeof table);
    table.struct_size = sizeof table;
    table.count = 1;
    table.numel = numel;
    memset(&gradients, 0, sizeof gradients);
    gradients.struct_size = sizeof gradients;
    gradients.blocks = 1;
    gradients.rows = 2;
    gradients.gram = gram;
    if (!s || craft_runtime_blocks(s, 0, &table) || craft_runtime_plan(s) || craft_runtime_begin(s, 4, 1e-3)
        || craft_runtime_losses(s, losses, NULL, 2) || craft_runtime_combine(s, &gradients, weights, 2))
        fprintf(stderr, "%s\n", craft_runtime_error());
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t threads[2];
    if (argc != 4) return 64;
    folders = argv[1];
    signal(SIGSEGV, handled);
    craft_runtime_report_crashes();
    if (pthread_create(threads, NULL, step, argv[3])) return 65;
    usleep(500000);
    if (pthread_create(threads + 1, NULL, step, argv[2])) return 65;
    pthread_join(threads[1], NULL);
    return 0;
}
