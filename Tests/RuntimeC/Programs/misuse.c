/* Calls every function wrongly; prints a line for each, "function-number status sentence", and ends with 0.
 *
 *     misuse FOLDERS */
#include <craft_runtime.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

static craft_runtime *s;

static void wrong(const char *what, int32_t status) {
    printf("%s %d %s\n", what, status, craft_runtime_error());
    if (status == CRAFT_RUNTIME_OK) exit(1);
}

static void right(int32_t status) {
    if (status == CRAFT_RUNTIME_OK) return;
    printf("unexpected %s\n", craft_runtime_error());
    exit(1);
}

static int32_t opens(const char *plugins, const char *folders, const char *objectives) {
    return craft_runtime_open(plugins, folders, objectives) ? CRAFT_RUNTIME_OK : CRAFT_RUNTIME_FAILED;
}

static void *elsewhere(void *argument) {
    (void)argument;
    printf("thread 0 [%s]\n", craft_runtime_error());
    return NULL;
}

int main(int argc, char **argv) {
    const char *folders = argc > 1 ? argv[1] : "", *json;
    const int64_t numel[] = {3, 4};
    int64_t rows[2], count, i64;
    int32_t actions, lambda, gram_handle, loss;
    double weights[4], gram[8] = {1, -.5, -.5, 1, 1, 0, 0, 1}, losses[2] = {1, 2}, f64;
    float data[8] = {0};
    int64_t shape[3] = {1, 2, 4}, strides[3] = {1, 1, 2};
    const void *bytes;
    uint64_t size;
    craft_array view;
    craft_runtime_block_table table;
    craft_runtime_gradients gradients;
    pthread_t thread;

    if (craft_runtime_version() < CRAFT_RUNTIME_VERSION || *craft_runtime_error()) return 2;
    wrong("open.null", opens(NULL, folders, NULL));
    wrong("open.unknown", opens("CRaFTDuall", folders, NULL));
    wrong("open.list", opens("A,,B", folders, NULL));
    wrong("open.setting", opens("PCGrad:colour=red", folders, NULL));
    wrong("open.objective", opens("PCGrad", folders, "a,a"));
    wrong("session.null", craft_runtime_plan(NULL));
    wrong("session.garbage", craft_runtime_plan((craft_runtime *)0x1234567));
    s = craft_runtime_open("PCGrad:scope=tensor", folders, "action,retention");
    if (!s) { printf("unexpected %s\n", craft_runtime_error()); return 1; }

    wrong("describe.null", craft_runtime_describe(s, NULL));
    wrong("fact.name", craft_runtime_fact(s, "colour", 1));
    wrong("fact.null", craft_runtime_fact(s, NULL, 1));
    wrong("fact.value", craft_runtime_fact(s, "batch", -1));
    wrong("begin.early", craft_runtime_begin(s, 0, 1e-3));
    wrong("plan.blocks", craft_runtime_plan(s));
    memset(&table, 0, sizeof table);
    wrong("blocks.size", craft_runtime_blocks(s, CRAFT_RUNTIME_TENSOR, &table));
    table.struct_size = sizeof table;
    wrong("blocks.count", craft_runtime_blocks(s, CRAFT_RUNTIME_TENSOR, &table));
    table.count = 2;
    wrong("blocks.numel", craft_runtime_blocks(s, CRAFT_RUNTIME_TENSOR, &table));
    table.numel = numel;
    wrong("blocks.scope", craft_runtime_blocks(s, 9, &table));
    table.kind = numel;
    table.group = (const int64_t[]){-1, 77};
    wrong("blocks.group", craft_runtime_blocks(s, CRAFT_RUNTIME_TENSOR, &table));
    table.group = table.kind = NULL;
    right(craft_runtime_blocks(s, CRAFT_RUNTIME_TENSOR, &table));
    wrong("groups.null", craft_runtime_groups(s, NULL, 2));
    wrong("absent.name", craft_runtime_absent(s, "colour", "it is grey"));
    right(craft_runtime_plan(s));
    wrong("plan.twice", craft_runtime_plan(s));
    right(craft_runtime_describe(s, &json));
    if (!strstr(json, "\"block_scope\":\"tensor\"") || !strstr(json, "\"objectives\":[\"action\",\"retention\"]")) return 3;

    wrong("name.unknown", craft_runtime_name(s, "predicted_action", &actions));
    wrong("name.null", craft_runtime_name(s, NULL, &actions));
    right(craft_runtime_name(s, "predicted_actions", &actions));
    right(craft_runtime_name(s, "lambda.retention", &lambda));
    right(craft_runtime_name(s, "gram", &gram_handle));
    right(craft_runtime_name(s, "loss.action", &loss));
    wrong("set.handle", craft_runtime_set_f64(s, 99, 1));
    wrong("set.type", craft_runtime_set_f64(s, actions, 1));
    wrong("set.integer", craft_runtime_set_i64(s, lambda, 1));
    wrong("set.nan", craft_runtime_set_f64(s, lambda, NAN));
    wrong("set.own", craft_runtime_set_array(s, gram_handle, NULL));
    memset(&view, 0, sizeof view);
    wrong("array.device", craft_runtime_set_array(s, actions, &view));
    view.device_type = CRAFT_DEVICE_CPU;
    wrong("array.type", craft_runtime_set_array(s, actions, &view));
    view.type_code = CRAFT_TYPE_FLOAT;
    view.type_bits = 32;
    view.type_lanes = 1;
    wrong("array.rank", craft_runtime_set_array(s, actions, &view));
    view.ndim = 3;
    wrong("array.shape", craft_runtime_set_array(s, actions, &view));
    view.shape = shape;
    wrong("array.data", craft_runtime_set_array(s, actions, &view));
    view.data = data;
    view.strides = strides;
    wrong("array.strides", craft_runtime_set_array(s, actions, &view));
    view.strides = NULL;
    shape[0] = -1;
    wrong("array.negative", craft_runtime_set_array(s, actions, &view));
    shape[0] = INT64_MAX / 4;
    wrong("array.overflow", craft_runtime_set_array(s, actions, &view));
    shape[0] = 1;
    view.data = (char *)data + 1;
    wrong("array.aligned", craft_runtime_set_array(s, actions, &view));
    view.data = data;
    right(craft_runtime_set_array(s, actions, &view));
    wrong("get.type", craft_runtime_get_i64(s, actions, &i64));
    wrong("get.null", craft_runtime_get_f64(s, lambda, NULL));
    wrong("get.absent", craft_runtime_get_f64(s, loss, &f64));

    wrong("micro.early", craft_runtime_micro_batch(s));
    wrong("begin.step", craft_runtime_begin(s, -1, 1e-3));
    wrong("begin.rate", craft_runtime_begin(s, 0, NAN));
    right(craft_runtime_begin(s, 0, 1e-3));
    wrong("begin.twice", craft_runtime_begin(s, 1, 1e-3));
    wrong("save.early", craft_runtime_save(s, &bytes, &size));
    memset(&gradients, 0, sizeof gradients);
    wrong("combine.size", craft_runtime_combine(s, &gradients, weights, 4));
    gradients.struct_size = sizeof gradients;
    gradients.blocks = gradients.rows = 2;
    gradients.gram = gram;
    wrong("combine.early", craft_runtime_combine(s, &gradients, weights, 4));
    wrong("close.none", craft_runtime_close_batch(s, rows, &count));
    wrong("losses.null", craft_runtime_losses(s, NULL, NULL, 2));
    wrong("losses.count", craft_runtime_losses(s, losses, NULL, 3));
    losses[1] = INFINITY;
    wrong("losses.infinite", craft_runtime_losses(s, losses, NULL, 2));
    losses[1] = 2;
    right(craft_runtime_losses(s, losses, NULL, 2));
    wrong("combine.null", craft_runtime_combine(s, NULL, weights, 4));
    wrong("combine.weights", craft_runtime_combine(s, &gradients, NULL, 4));
    wrong("combine.room", craft_runtime_combine(s, &gradients, weights, 3));
    gradients.blocks = 3;
    wrong("combine.blocks", craft_runtime_combine(s, &gradients, weights, 6));
    gradients.blocks = 2;
    gradients.gram = NULL;
    wrong("combine.gram", craft_runtime_combine(s, &gradients, weights, 4));
    gradients.gram = gram;
    gram[5] = NAN;
    wrong("combine.nan", craft_runtime_combine(s, &gradients, weights, 4));
    gram[5] = 0;
    wrong("rates.early", craft_runtime_rates(s, weights, 2));
    wrong("finish.early", craft_runtime_finish(s));
    right(craft_runtime_combine(s, &gradients, weights, 4));
    /* Opposed gradients of one block, orthogonal ones of the other: PCGrad by hand. */
    if (weights[0] != 1.5 || weights[1] != 1.5 || weights[2] != 1 || weights[3] != 1) {
        printf("unexpected %g %g %g %g\n", weights[0], weights[1], weights[2], weights[3]);
        return 4;
    }
    wrong("rates.none", craft_runtime_rates(s, weights, 2));
    wrong("rates.count", craft_runtime_rates(s, weights, 1));
    wrong("metrics.early", craft_runtime_metrics(s, &json));
    wrong("pull.early", craft_runtime_pull(s, weights, 2));
    wrong("evaluate.early", craft_runtime_evaluate(s, 1, NULL, NULL, 0, NULL));
    right(craft_runtime_finish(s));
    wrong("abandon.early", craft_runtime_abandon(s));
    wrong("get.lent", craft_runtime_get_array(s, actions, &view));
    wrong("multipliers.count", craft_runtime_multipliers(s, weights, 3));
    wrong("pull.none", craft_runtime_pull(s, weights, 2));
    wrong("stop.none", craft_runtime_stop(s, &json));
    wrong("stop.null", craft_runtime_stop(s, NULL));
    wrong("evaluate.null", craft_runtime_evaluate(s, 1, NULL, losses, 1, NULL));
    wrong("evaluate.steps", craft_runtime_evaluate(s, -1, NULL, NULL, 0, NULL));
    wrong("end.count", craft_runtime_end(s, 1, NULL, NULL, -1));
    {
        const float numbers[4] = {1, 2, 3, 4}, *rows_[2] = {numbers, NULL};
        const int64_t offsets[2] = {2, 1};
        float sum[4];
        wrong("gram.null", craft_runtime_gram(NULL, 1, offsets, 1, gram));
        wrong("gram.row", craft_runtime_gram(rows_, 2, offsets, 1, gram));
        wrong("gram.m", craft_runtime_gram(rows_, 0, offsets, 1, gram));
        wrong("gram.offsets", craft_runtime_gram(rows_, 1, offsets, 1, gram));
        wrong("sum.k", craft_runtime_weighted_sum(rows_, 1, offsets, 0, NULL, sum));
    }
    wrong("load.null", craft_runtime_load(s, NULL, 3));
    wrong("load.text", craft_runtime_load(s, "no state of anything", 20));
    right(craft_runtime_save(s, &bytes, &size));
    {
        unsigned char *copy = malloc(size);
        uint64_t length;
        memcpy(copy, bytes, size);
        for (length = 0; length < size; length++)
            if (craft_runtime_load(s, copy, length) == CRAFT_RUNTIME_OK) return 5;
        wrong("load.cut", craft_runtime_load(s, copy, size - 1));
        right(craft_runtime_load(s, copy, size));
        free(copy);
    }
    if (pthread_create(&thread, NULL, elsewhere, NULL)) return 6;
    pthread_join(thread, NULL);
    right(craft_runtime_close(s));
    right(craft_runtime_close(NULL));
    wrong("close.twice", craft_runtime_close(s));
    wrong("session.closed", craft_runtime_begin(s, 1, 1e-3));
    return 0;
}
