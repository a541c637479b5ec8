// Inner products of gradients, AdamW on a weighted sum of gradients, the moving average, and the finiteness check.
#include "kernels.h"
#include "vector.h"

// Most gradients that one call combines.
enum { max_gradients = 8 };

// ---- inner products --------------------------------------------------------------------------------------------

// A product of two float32 values is exact in float64, so only the sum rounds: the sign of a cosine near 0 is right.
CK_INLINE double dot(const float *a, const float *b, size_t n) {
    CK_REASSOCIATE
    double s = 0;
    for (size_t i = 0; i < n; i++) s += (double)a[i] * (double)b[i];
    return s;
}

CK_DISPATCH
double ck_dot_f64(const float *a, const float *b, size_t n) { return dot(a, b, n); }

// Tiles of the Gram matrix for two gradients a, b and c, d: converting to float64 costs more than the products, so each
// conversion serves several.
CK_INLINE void add_diagonal_tile(const float *a, const float *b, size_t n, double *aa, double *ab, double *bb) {
    CK_REASSOCIATE
    double s0 = 0, s1 = 0, s2 = 0;
    for (size_t i = 0; i < n; i++) {
        const double u = a[i], v = b[i];
        s0 += u * u;
        s1 += u * v;
        s2 += v * v;
    }
    *aa += s0;
    *ab += s1;
    *bb += s2;
}

CK_INLINE void add_column_tile(const float *a, const float *b, const float *c, size_t n, double *ac, double *bc) {
    CK_REASSOCIATE
    double s0 = 0, s1 = 0;
    for (size_t i = 0; i < n; i++) {
        const double u = a[i], v = b[i], x = c[i];
        s0 += u * x;
        s1 += v * x;
    }
    *ac += s0;
    *bc += s1;
}

CK_INLINE void add_square_tile(const float *a, const float *b, const float *c, const float *d, size_t n, double *ac,
                               double *ad, double *bc, double *bd) {
    CK_REASSOCIATE
    double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (size_t i = 0; i < n; i++) {
        const double u = a[i], v = b[i], x = c[i], y = d[i];
        s0 += u * x;
        s1 += u * y;
        s2 += v * x;
        s3 += v * y;
    }
    *ac += s0;
    *ad += s1;
    *bc += s2;
    *bd += s3;
}

CK_DISPATCH
void ck_gram_f64(const float *const *gradients, size_t count, size_t n, double *gram) {
    // Blocks of all gradients together stay in the first-level cache while every pair is formed.
    enum { block = 1024 };
    if (count > max_gradients) __builtin_trap();
    for (size_t i = 0; i < count * count; i++) gram[i] = 0;
    if (count == 1) {
        gram[0] = dot(gradients[0], gradients[0], n);
    } else if (count == 2) {
        add_diagonal_tile(gradients[0], gradients[1], n, &gram[0], &gram[1], &gram[3]);
    } else {
        for (size_t first = 0; first < n; first += block) {
            const size_t length = n - first < block ? n - first : block;
            for (size_t i = 0; i < count; i += 2) {
                const float *a = gradients[i] + first;
                double *row = gram + i * count;
                if (i + 1 == count) {
                    row[i] += dot(a, a, length);
                    break;
                }
                const float *b = gradients[i + 1] + first;
                double *next = row + count;
                add_diagonal_tile(a, b, length, &row[i], &row[i + 1], &next[i + 1]);
                for (size_t j = i + 2; j < count; j += 2) {
                    const float *c = gradients[j] + first;
                    if (j + 1 == count) {
                        add_column_tile(a, b, c, length, &row[j], &next[j]);
                    } else {
                        const float *d = gradients[j + 1] + first;
                        add_square_tile(a, b, c, d, length, &row[j], &row[j + 1], &next[j], &next[j + 1]);
                    }
                }
            }
        }
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i; j++) gram[i * count + j] = gram[j * count + i];
    }
}

// ---- AdamW -----------------------------------------------------------------------------------------------------

// `count` is a constant at every call, so the sum over gradients unrolls and the loop over elements vectorises.
CK_INLINE void adamw(float *p, float *m, float *v, const float *const *gradients, const float *weights, size_t count,
                     size_t n, const ck_adamw_settings *settings) {
    const float *g[max_gradients];
    float w[max_gradients];
    for (size_t k = 0; k < count; k++) {
        g[k] = gradients[k];
        w[k] = weights[k];
    }
    const float b1 = settings->beta1, b2 = settings->beta2, eps = settings->eps;
    // Exact for beta >= 1/2, so a moment's two weights sum to 1. 0.999f is not 0.999: the caller's corrections must come
    // from the float32 betas too, or the first updates are off by up to 5e-5.
    const float keep1 = 1.0f - b1, keep2 = 1.0f - b2;
    const float decay = settings->lr * settings->weight_decay;
    const float step = settings->lr / settings->bias_correction1;
    const float root = 1.0f / sqrtf(settings->bias_correction2);
    CK_INDEPENDENT
    for (size_t i = 0; i < n; i++) {
        float gradient = 0;
        for (size_t k = 0; k < count; k++) gradient += w[k] * g[k][i];
        const float mi = b1 * m[i] + keep1 * gradient;
        const float vi = b2 * v[i] + keep2 * gradient * gradient;
        const float pi = p[i] - decay * p[i];
        m[i] = mi;
        v[i] = vi;
        p[i] = pi - step * mi / (sqrtf(vi) * root + eps);
    }
}

CK_DISPATCH
void ck_adamw(float *p, float *m, float *v, const float *const *gradients, const float *weights, size_t count,
              size_t n, const ck_adamw_settings *settings) {
    const float *g[max_gradients];
    float w[max_gradients];
    size_t used = 0;
    if (count > max_gradients) __builtin_trap();
    for (size_t k = 0; k < count; k++) {
        if (weights[k] == 0) continue;
        g[used] = gradients[k];
        w[used] = weights[k];
        used++;
    }
    switch (used) {
    case 0: adamw(p, m, v, g, w, 0, n, settings); break;
    case 1: adamw(p, m, v, g, w, 1, n, settings); break;
    case 2: adamw(p, m, v, g, w, 2, n, settings); break;
    case 3: adamw(p, m, v, g, w, 3, n, settings); break;
    case 4: adamw(p, m, v, g, w, 4, n, settings); break;
    case 5: adamw(p, m, v, g, w, 5, n, settings); break;
    case 6: adamw(p, m, v, g, w, 6, n, settings); break;
    case 7: adamw(p, m, v, g, w, 7, n, settings); break;
    case 8: adamw(p, m, v, g, w, 8, n, settings); break;
    }
}

// ---- moving average --------------------------------------------------------------------------------------------

// As torch.lerp: from the nearer end, so that both ends are exact.
CK_DISPATCH
void ck_average(float *average, const float *p, float decay, size_t n) {
    if (decay < 0.5f) {
        CK_INDEPENDENT
        for (size_t i = 0; i < n; i++) average[i] = p[i] - decay * (p[i] - average[i]);
    } else {
        const float gain = 1.0f - decay;
        CK_INDEPENDENT
        for (size_t i = 0; i < n; i++) average[i] = average[i] + gain * (p[i] - average[i]);
    }
}

// ---- finiteness ------------------------------------------------------------------------------------------------

CK_DISPATCH
int ck_all_finite(const float *x, size_t n) {
    enum { block = 4096 };
    for (size_t first = 0; first < n; first += block) {
        const size_t end = n - first < block ? n : first + block;
        uint32_t bad = 0;
        for (size_t i = first; i < end; i++) bad |= (ck_bits(x[i]) & 0x7f800000u) == 0x7f800000u;
        if (bad) return 0;
    }
    return 1;
}
