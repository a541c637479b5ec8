/* What goes on around the conversation's core: passes over gradients, rates, the way back, and the end of a run.
 *
 *     around FOLDERS
 *
 * FOLDERS hold EarlyStop and Rates, which gives rate = 0.5 + block at gradient_combine and pull = 0.25 at post_step. Prints the
 * reasons to stop, and ends with 0, or with the number of the check that failed. */
#include <craft_runtime.h>
#include <math.h>
#include <stdlib.h>

#define TRY(call) do { if ((call) != CRAFT_RUNTIME_OK) { fprintf(stderr, "%s\n", craft_runtime_error()); exit(1); } } while (0)

static double number(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 11) * 0x1p-53 * 2 - 1;
}

/* Against sums written down as they are, for every number of gradients up to m. */
static int passes(void) {
    enum { M = 13, K = 4 };
    const int64_t offsets[K + 1] = {3, 8, 8, 70000, 140001};
    float *memory[M], *sum = malloc(140001 * sizeof *sum);
    const float *rows[M];
    double gram[K * M * M], weights[K * M];
    uint64_t state = 3;
    int64_t m, b, x;
    int i, j;
    for (i = 0; i < M; i++) {
        rows[i] = memory[i] = malloc(140001 * sizeof *memory[i]);
        for (x = 0; x < 140001; x++) memory[i][x] = (float)number(&state);
    }
    for (m = 1; m <= M; m++) {
        TRY(craft_runtime_gram(rows, m, offsets, K, gram));
        for (b = 0; b < K; b++)
            for (i = 0; i < m; i++)
                for (j = 0; j < m; j++) {
                    double expected = 0;
                    for (x = offsets[b]; x < offsets[b + 1]; x++) expected += (double)rows[i][x] * rows[j][x];
                    if (!(fabs(gram[(b * m + i) * m + j] - expected) <= 1e-8)) return 10;
                    if (gram[(b * m + i) * m + j] != gram[(b * m + j) * m + i]) return 11;
                }
    }
    for (i = 0; i < K * M; i++) weights[i] = i % 3 ? number(&state) : 0;
    TRY(craft_runtime_weighted_sum(rows, 3, offsets, K, weights, sum));
    for (b = 0; b < K; b++)
        for (x = offsets[b]; x < offsets[b + 1]; x++) {
            double expected = 0;
            for (i = 0; i < 3; i++) expected += weights[b * 3 + i] * rows[i][x];
            if (!(fabs(sum[x] - expected) <= 1e-6)) return 12;
        }
    /* In place of the second row. */
    TRY(craft_runtime_weighted_sum(rows, 3, offsets, K, weights, memory[1]));
    for (x = offsets[0]; x < offsets[K]; x++) if (memory[1][x] != sum[x]) return 13;
    for (i = 0; i < M; i++) free(memory[i]);
    free(sum);
    return 0;
}

int main(int argc, char **argv) {
    const char *plugins = "Rates,EarlyStop:metric=accuracy:floor=0.5:patience=0:objective=action:loss_ceiling=3";
    const char *names[] = {"accuracy", "other"}, *json, *reason;
    const int64_t numel[] = {3, 4};
    double values[] = {0.75, 1}, losses[] = {1, 2}, gram[8] = {1, 0, 0, 1, 1, 0, 0, 1}, weights[4], rates[2], pull[2];
    craft_runtime_block_table table;
    craft_runtime_gradients gradients;
    craft_runtime *s;
    int64_t step;
    int status = passes();
    if (argc != 2 || status) return status ? status : 64;
    s = craft_runtime_open(plugins, argv[1], "action,retention");
    if (!s) { fprintf(stderr, "%s\n", craft_runtime_error()); return 1; }
    memset(&table, 0, sizeof table);
    table.struct_size = sizeof table;
    table.count = 2;
    table.numel = numel;
    TRY(craft_runtime_blocks(s, CRAFT_RUNTIME_TENSOR, &table));
    TRY(craft_runtime_plan(s));
    if (craft_runtime_pull(s, pull, 2) != CRAFT_RUNTIME_FAILED) return 20;
    TRY(craft_runtime_evaluate(s, 0, names, values, 2, &json));
    if (!strstr(json, "\"accuracy_best\":0.75")) return 21;
    if (craft_runtime_stop(s, &reason) != CRAFT_RUNTIME_ABSENT) return 22;
    memset(&gradients, 0, sizeof gradients);
    gradients.struct_size = sizeof gradients;
    gradients.blocks = gradients.rows = 2;
    gradients.gram = gram;
    for (step = 0; step < 2; step++) {
        losses[0] = step ? 4 : 1;
        TRY(craft_runtime_begin(s, step, 1e-3));
        if (craft_runtime_rates(s, rates, 2) != CRAFT_RUNTIME_FAILED) return 23;
        TRY(craft_runtime_losses(s, losses, NULL, 2));
        TRY(craft_runtime_combine(s, &gradients, weights, 4));
        if (craft_runtime_rates(s, rates, 3) != CRAFT_RUNTIME_FAILED) return 24;
        TRY(craft_runtime_rates(s, rates, 2));
        if (rates[0] != 0.5 || rates[1] != 1.5) return 25;
        TRY(craft_runtime_finish(s));
        TRY(craft_runtime_pull(s, pull, 2));
        if (pull[0] != 0.25 || pull[1] != 0.25) return 26;
        if (!step && craft_runtime_stop(s, &reason) != CRAFT_RUNTIME_ABSENT) return 27;
    }
    TRY(craft_runtime_stop(s, &reason));
    printf("%s\n", reason);
    TRY(craft_runtime_evaluate(s, 2, names, values, 2, NULL));
    if (craft_runtime_stop(s, &reason) != CRAFT_RUNTIME_ABSENT) return 28;
    values[0] = 0.25;
    TRY(craft_runtime_evaluate(s, 2, names, values, 2, NULL));
    TRY(craft_runtime_stop(s, &reason));
    printf("%s\n", reason);
    values[0] = NAN;
    if (craft_runtime_evaluate(s, 2, names, values, 2, NULL) != CRAFT_RUNTIME_FAILED) return 29;
    if (craft_runtime_evaluate(s, 2, NULL, values, 2, NULL) != CRAFT_RUNTIME_FAILED) return 30;
    TRY(craft_runtime_end(s, 2, NULL, NULL, 0));
    TRY(craft_runtime_close(s));
    return 0;
}
