/* A host in C: reads the inputs of a run, holds the conversation of its steps, writes what came of it.
 *
 *     conversation PLUGINS FOLDERS INPUTS OUTPUTS SPLIT [INPUTS OUTPUTS]
 *
 * The session is saved after SPLIT steps, closed, and taken up by a new one. A second pair of files is worked on at the same time,
 * by a second session on a second thread.
 *
 * Inputs: int64 steps, micro-batches, b, h, a, t, d, k; then for each step: for each micro-batch predicted and target actions
 * f32[b,h,a], then features and anchors f32[b,t,d] for two taps; then the Gram matrices f64[k,2,2].
 * Outputs, f64: for each step: for each micro-batch the losses and the first value of each cotangent; weights [k,2];
 * multipliers [2]; the metric conflict_ratio. */
#include <craft_runtime.h>
#include <pthread.h>
#include <stdlib.h>

#define TRY(call) do { if ((call) != CRAFT_RUNTIME_OK) { fprintf(stderr, "%s\n", craft_runtime_error()); exit(1); } } while (0)

typedef struct job { const char *plugins, *folders, *inputs, *outputs; int64_t split; } job;

static int64_t steps, micro, b, h, a, t, d, k;

static craft_array f32(float *data, const int64_t *shape) {
    craft_array view;
    memset(&view, 0, sizeof view);
    view.data = data;
    view.device_type = CRAFT_DEVICE_CPU;
    view.ndim = 3;
    view.type_code = CRAFT_TYPE_FLOAT;
    view.type_bits = 32;
    view.type_lanes = 1;
    view.shape = (int64_t *)shape;
    return view;
}

static void take(FILE *file, void *data, size_t size) {
    if (fread(data, 1, size, file) != size) { fprintf(stderr, "the inputs are short\n"); exit(1); }
}

static craft_runtime *open_session(const job *work) {
    craft_runtime *s = craft_runtime_open(work->plugins, work->folders, NULL);
    craft_runtime_block_table table;
    int64_t *numel = calloc((size_t)k, sizeof *numel), i;
    if (!s) { fprintf(stderr, "%s\n", craft_runtime_error()); exit(1); }
    for (i = 0; i < k; i++) numel[i] = 10 + i;
    memset(&table, 0, sizeof table);
    table.struct_size = sizeof table;
    table.count = k;
    table.numel = numel;
    TRY(craft_runtime_blocks(s, CRAFT_RUNTIME_LAYER, &table));
    TRY(craft_runtime_fact(s, "hidden_states", 5));
    TRY(craft_runtime_fact(s, "hidden_size", d));
    TRY(craft_runtime_fact(s, "visual_tokens", t));
    TRY(craft_runtime_fact(s, "queries", t));
    TRY(craft_runtime_fact(s, "batch", b));
    TRY(craft_runtime_fact(s, "steps", steps));
    TRY(craft_runtime_fact(s, "seed", 7));
    TRY(craft_runtime_plan(s));
    free(numel);
    return s;
}

static int32_t handle(craft_runtime *s, const char *name) {
    int32_t handle;
    TRY(craft_runtime_name(s, name, &handle));
    return handle;
}

static void *run(void *argument) {
    static const char *const given[] = {"predicted_actions", "target_actions", "feature.AnchorVariants.visual",
        "anchor.AnchorVariants.visual", "feature.AnchorVariants.query", "anchor.AnchorVariants.query"};
    static const char *const scalars[] = {"loss.action", "loss.retention"};
    static const char *const cotangents[] = {"cotangent.action.predicted_actions",
        "cotangent.retention.feature.AnchorVariants.visual", "cotangent.retention.feature.AnchorVariants.query"};
    const job *work = argument;
    FILE *in = fopen(work->inputs, "rb"), *out = fopen(work->outputs, "wb");
    const int64_t actions[] = {b, h, a}, features[] = {b, t, d};
    float *data[6];
    double *gram = malloc((size_t)(k * 4) * sizeof *gram), *weights = malloc((size_t)(k * 2) * sizeof *weights);
    craft_runtime *s = open_session(work);
    int64_t header[8], step, m, i;
    take(in, header, sizeof header);
    for (i = 0; i < 6; i++) data[i] = malloc((size_t)(i < 2 ? b * h * a : b * t * d) * sizeof(float));
    for (step = 0; step < steps; step++) {
        craft_runtime_gradients gradients;
        int64_t rows[2], count;
        double value, multipliers[2];
        const char *json;
        if (step == work->split) {
            const void *bytes;
            uint64_t size;
            void *copy;
            TRY(craft_runtime_save(s, &bytes, &size));
            copy = malloc(size);
            memcpy(copy, bytes, size);
            TRY(craft_runtime_close(s));
            s = open_session(work);
            TRY(craft_runtime_load(s, copy, size));
            free(copy);
        }
        TRY(craft_runtime_begin(s, step, 1e-4));
        for (m = 0; m < micro; m++) {
            for (i = 0; i < 6; i++) {
                craft_array view = f32(data[i], i < 2 ? actions : features);
                take(in, data[i], (size_t)(i < 2 ? b * h * a : b * t * d) * sizeof(float));
                TRY(craft_runtime_set_array(s, handle(s, given[i]), &view));
            }
            TRY(craft_runtime_micro_batch(s));
            for (i = 0; i < 2; i++) {
                TRY(craft_runtime_get_f64(s, handle(s, scalars[i]), &value));
                fwrite(&value, sizeof value, 1, out);
            }
            for (i = 0; i < 3; i++) {
                craft_array view;
                TRY(craft_runtime_get_array(s, handle(s, cotangents[i]), &view));
                if (view.shape[0] != b || craft_count(&view) != (i == 0 ? b * h * a : b * t * d)) exit(2);
                value = craft_read_f32(&view)[0];
                fwrite(&value, sizeof value, 1, out);
            }
        }
        take(in, gram, (size_t)(k * 4) * sizeof *gram);
        TRY(craft_runtime_close_batch(s, rows, &count));
        if (count != 2 || rows[0] != 0 || rows[1] != 1) exit(3);
        memset(&gradients, 0, sizeof gradients);
        gradients.struct_size = sizeof gradients;
        gradients.blocks = k;
        gradients.rows = count;
        gradients.gram = gram;
        TRY(craft_runtime_combine(s, &gradients, weights, k * 2));
        fwrite(weights, sizeof *weights, (size_t)(k * 2), out);
        TRY(craft_runtime_finish(s));
        TRY(craft_runtime_multipliers(s, multipliers, 2));
        fwrite(multipliers, sizeof *multipliers, 2, out);
        TRY(craft_runtime_metrics(s, &json));
        if (!strstr(json, "\"lambda.retention@prev\":")) exit(4);
        json = strstr(json, "\"conflict_ratio\":");
        if (!json) exit(5);
        value = strtod(json + strlen("\"conflict_ratio\":"), NULL);
        fwrite(&value, sizeof value, 1, out);
    }
    TRY(craft_runtime_close(s));
    for (i = 0; i < 6; i++) free(data[i]);
    free(gram);
    free(weights);
    fclose(in);
    fclose(out);
    return NULL;
}

int main(int argc, char **argv) {
    int64_t header[8];
    job one, two;
    FILE *file;
    if (argc != 6 && argc != 8) return 64;
    one.plugins = argv[1];
    one.folders = argv[2];
    one.inputs = argv[3];
    one.outputs = argv[4];
    one.split = atoi(argv[5]);
    file = fopen(one.inputs, "rb");
    take(file, header, sizeof header);
    fclose(file);
    steps = header[0], micro = header[1], b = header[2], h = header[3], a = header[4], t = header[5], d = header[6], k = header[7];
    if (argc == 8) {
        pthread_t thread;
        two = one;
        two.inputs = argv[6];
        two.outputs = argv[7];
        if (pthread_create(&thread, NULL, run, &two)) return 65;
        run(&one);
        pthread_join(thread, NULL);
    } else {
        run(&one);
    }
    return 0;
}
