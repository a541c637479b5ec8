/* Keeps one objective from drowning the others. In each block, where objective i contributes a gradient of norm
 * n_i = |w_i| |g_i| and n is the smallest n_i above zero:      w_i <- w_i * min(1, ratio * n / n_i) */
#include <craft_plugin.h>
#include <math.h>
#include <stdlib.h>

static const craft_parameter parameters[] = {
    {"ratio", CRAFT_F64, 0, "10", 1, INFINITY, NULL, "Largest ratio between the norms of two contributions."}};

static int32_t create(CRAFT_UNUSED const craft_host *host, const craft_settings *settings, void **self, craft_error *error) {
    double *ratio = malloc(sizeof *ratio);
    if (!ratio) return craft_fail(error, "there is no memory for an instance");
    *ratio = craft_setting_at(settings, 0)->f64;
    return *self = ratio, CRAFT_OK;
}

#define IN(X) X(f64_array, gram, "gram", "[k,m,m]") X(f64_array, weights, "weights", "[k,m]")
#define OUT(X) X(f64_array, capped, "weights", "[k,m]")
CRAFT_HOOK(cap, IN, OUT) {
    const double ratio = *(const double *)self, *g = craft_read_f64(gram), *w = craft_read_f64(weights);
    const int64_t blocks = weights->shape[0], m = weights->shape[1];
    double *out = craft_write_f64(capped);
    for (int64_t k = 0; k < blocks; k++, g += m * m, w += m, out += m) {
        double smallest = INFINITY;
        for (int64_t i = 0; i < m; i++) {
            const double n = fabs(w[i]) * sqrt(g[i * m + i]);
            if (!isfinite(n)) return craft_fail(error, "block %d, objective %d: the norm is %g", (int)k, (int)i, n);
            if (n > 0 && n < smallest) smallest = n;
            out[i] = n;
        }
        for (int64_t i = 0; i < m; i++) out[i] = w[i] * (out[i] > ratio * smallest ? ratio * smallest / out[i] : 1);
    }
    return CRAFT_OK;
}

static craft_hook hooks[] = {CRAFT_HOOK_ENTRY("gradient_combine", cap)};
static const craft_plugin plugin = {CRAFT_PLUGIN_HEADER(0), "org.example.ExampleRule", "1.0.0",
    "Caps the ratio between the objectives' gradient norms.", CRAFT_TABLE(parameters), CRAFT_TABLE(hooks), create, free,
    NULL, NULL, NULL, NULL};
CRAFT_PLUGIN_ENTRY(plugin, hooks)
