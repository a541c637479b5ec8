// LayerNorm and RMSNorm over rows, forward and backward.
#include "kernels.h"
#include "vector.h"

// Rows whose parameter gradients are summed before dw is touched: four rows of dy and x stay in the first-level cache
// up to n = 1024.
enum { row_block = 4 };

CK_INLINE float sum(const float *x, size_t n) {
    CK_REASSOCIATE
    float s = 0;
    for (size_t j = 0; j < n; j++) s += x[j];
    return s;
}

CK_INLINE float sum_of_squares(const float *x, size_t n) {
    CK_REASSOCIATE
    float s = 0;
    for (size_t j = 0; j < n; j++) s += x[j] * x[j];
    return s;
}

// Mean and variance. The second pass is about a first mean: E[x^2] - E[x]^2 would cancel for rows far from zero. Its sum
// of deviations, 0 but for rounding, corrects both (Chan, Golub, LeVeque 1983).
CK_INLINE void moments(const float *x, size_t n, float *mean, float *variance) {
    const float inverse = n ? 1.0f / (float)n : 0;
    const float first = sum(x, n) * inverse;
    float deviations = 0, squares = 0;
    {
        CK_REASSOCIATE
        for (size_t j = 0; j < n; j++) {
            float d = x[j] - first;
            deviations += d;
            squares += d * d;
        }
    }
    const float correction = deviations * inverse;
    *mean = first + correction;
    *variance = squares * inverse - correction * correction;
}

// dw[j] += sum over `rows` (a constant) of dy * (x - mean) * rstd; a NULL mean is zero.
CK_INLINE void add_scale_gradient(const float *dy, const float *x, const float *mean, const float *rstd, size_t rows,
                                  size_t n, float *dw) {
    CK_INDEPENDENT
    for (size_t j = 0; j < n; j++) {
        float s = 0;
        for (size_t r = 0; r < rows; r++) {
            float centred = mean ? x[r * n + j] - mean[r] : x[r * n + j];
            s += dy[r * n + j] * (centred * rstd[r]);
        }
        dw[j] += s;
    }
}

CK_INLINE void scale_gradient(const float *dy, const float *x, const float *mean, const float *rstd, size_t rows,
                              size_t n, float *dw) {
    // Copies of the statistics: stores to dw cannot change them, which the compiler could not know.
    float m[row_block] = {0}, s[row_block] = {0};
    for (size_t r = 0; r < rows; r++) {
        m[r] = mean ? mean[r] : 0;
        s[r] = rstd[r];
    }
    if (rows == row_block) {
        add_scale_gradient(dy, x, mean ? m : NULL, s, row_block, n, dw);
    } else {
        for (size_t r = 0; r < rows; r++) {
            add_scale_gradient(dy + r * n, x + r * n, mean ? m + r : NULL, s + r, 1, n, dw);
        }
    }
}

// ---- LayerNorm -------------------------------------------------------------------------------------------------

CK_DISPATCH
void ck_layer_norm(const float *x, const float *w, const float *b, float eps, size_t rows, size_t n, float *y,
                   float *mean, float *rstd) {
    for (size_t r = 0; r < rows; r++) {
        const float *xr = x + r * n;
        float *yr = y + r * n;
        float m, variance;
        moments(xr, n, &m, &variance);
        const float s = 1.0f / sqrtf(variance + eps);
        CK_INDEPENDENT
        for (size_t j = 0; j < n; j++) yr[j] = (xr[j] - m) * s * w[j] + b[j];
        mean[r] = m;
        rstd[r] = s;
    }
}

// With g = dy * w and h = (x - mean) * rstd: dx = rstd * (g - mean(g) - h * mean(g * h)).
CK_INLINE void layer_norm_backward_row(const float *dy, const float *x, const float *w, float mean, float rstd,
                                       size_t n, float *dx, int accumulate) {
    float sum_g = 0, sum_gh = 0;
    {
        CK_REASSOCIATE
        for (size_t j = 0; j < n; j++) {
            float g = dy[j] * w[j];
            sum_g += g;
            sum_gh += g * (x[j] - mean);
        }
    }
    const float inverse = n ? 1.0f / (float)n : 0;
    const float mean_g = sum_g * inverse;
    const float slope = sum_gh * inverse * rstd * rstd;
    CK_INDEPENDENT
    for (size_t j = 0; j < n; j++) {
        float d = rstd * (dy[j] * w[j] - mean_g - (x[j] - mean) * slope);
        dx[j] = accumulate ? dx[j] + d : d;
    }
}

CK_DISPATCH
void ck_layer_norm_backward(const float *dy, const float *x, const float *w, const float *mean, const float *rstd,
                            size_t rows, size_t n, float *dx, int accumulate, float *dw, float *db) {
    for (size_t first = 0; first < rows; first += row_block) {
        const size_t count = rows - first < row_block ? rows - first : row_block;
        const float *dyb = dy + first * n, *xb = x + first * n;
        if (dw) scale_gradient(dyb, xb, mean + first, rstd + first, count, n, dw);
        if (db) ck_add_columns(dyb, count, n, db);
        for (size_t r = 0; r < count; r++) {
            const float m = mean[first + r], s = rstd[first + r];
            float *dxr = dx + (first + r) * n;
            if (accumulate) {
                layer_norm_backward_row(dyb + r * n, xb + r * n, w, m, s, n, dxr, 1);
            } else {
                layer_norm_backward_row(dyb + r * n, xb + r * n, w, m, s, n, dxr, 0);
            }
        }
    }
}

// ---- RMSNorm ---------------------------------------------------------------------------------------------------

CK_DISPATCH
void ck_rms_norm(const float *x, const float *w, float eps, size_t rows, size_t n, float *y, float *rstd) {
    const float inverse = n ? 1.0f / (float)n : 0;
    for (size_t r = 0; r < rows; r++) {
        const float *xr = x + r * n;
        float *yr = y + r * n;
        const float s = 1.0f / sqrtf(sum_of_squares(xr, n) * inverse + eps);
        CK_INDEPENDENT
        for (size_t j = 0; j < n; j++) yr[j] = xr[j] * s * w[j];
        rstd[r] = s;
    }
}

// With g = dy * w: dx = rstd * (g - x * rstd^2 * mean(g * x)).
CK_INLINE void rms_norm_backward_row(const float *dy, const float *x, const float *w, float rstd, size_t n, float *dx,
                                     int accumulate) {
    float sum_gx = 0;
    {
        CK_REASSOCIATE
        for (size_t j = 0; j < n; j++) sum_gx += dy[j] * w[j] * x[j];
    }
    const float slope = n ? sum_gx / (float)n * rstd * rstd : 0;
    CK_INDEPENDENT
    for (size_t j = 0; j < n; j++) {
        float d = rstd * (dy[j] * w[j] - x[j] * slope);
        dx[j] = accumulate ? dx[j] + d : d;
    }
}

CK_DISPATCH
void ck_rms_norm_backward(const float *dy, const float *x, const float *w, const float *rstd, size_t rows, size_t n,
                          float *dx, int accumulate, float *dw) {
    for (size_t first = 0; first < rows; first += row_block) {
        const size_t count = rows - first < row_block ? rows - first : row_block;
        const float *dyb = dy + first * n, *xb = x + first * n;
        if (dw) scale_gradient(dyb, xb, NULL, rstd + first, count, n, dw);
        for (size_t r = 0; r < count; r++) {
            float *dxr = dx + (first + r) * n;
            if (accumulate) {
                rms_norm_backward_row(dyb + r * n, xb + r * n, w, rstd[first + r], n, dxr, 1);
            } else {
                rms_norm_backward_row(dyb + r * n, xb + r * n, w, rstd[first + r], n, dxr, 0);
            }
        }
    }
}
