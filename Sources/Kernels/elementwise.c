// Sums, scalings and broadcasts over rows.
#include "kernels.h"
#include "vector.h"

CK_DISPATCH
void ck_fill(float value, size_t n, float *y) {
    for (size_t i = 0; i < n; i++) y[i] = value;
}

CK_DISPATCH
void ck_add(const float *a, const float *b, size_t n, float *y) {
    CK_INDEPENDENT
    for (size_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

CK_DISPATCH
void ck_axpy(float alpha, const float *x, size_t n, float *y) {
    CK_INDEPENDENT
    for (size_t i = 0; i < n; i++) y[i] += alpha * x[i];
}

CK_DISPATCH
void ck_scale(float alpha, const float *x, size_t n, float *y) {
    CK_INDEPENDENT
    for (size_t i = 0; i < n; i++) y[i] = alpha * x[i];
}

CK_DISPATCH
void ck_add_bias(const float *bias, size_t rows, size_t n, float *y) {
    for (size_t r = 0; r < rows; r++, y += n) {
        CK_INDEPENDENT
        for (size_t j = 0; j < n; j++) y[j] += bias[j];
    }
}

void ck_fill_rows(const float *row, size_t rows, size_t n, float *y) {
    for (size_t r = 0; r < rows; r++) memcpy(y + r * n, row, n * sizeof *row);
}

CK_DISPATCH
void ck_column_sum(const float *dy, size_t rows, size_t n, float *db) { ck_add_columns(dy, rows, n, db); }

// ---- LayerScale ------------------------------------------------------------------------------------------------

CK_DISPATCH
void ck_layer_scale(const float *x, const float *h, const float *gamma, size_t rows, size_t n, float *y) {
    for (size_t r = 0; r < rows; r++, x += n, h += n, y += n) {
        CK_INDEPENDENT
        for (size_t j = 0; j < n; j++) y[j] = x[j] + gamma[j] * h[j];
    }
}

// dgamma[j] += sum over `rows` (a constant) of dy * h.
CK_INLINE void add_gamma_gradient(const float *dy, const float *h, size_t rows, size_t n, float *dgamma) {
    CK_INDEPENDENT
    for (size_t j = 0; j < n; j++) {
        float s = 0;
        for (size_t r = 0; r < rows; r++) s += dy[r * n + j] * h[r * n + j];
        dgamma[j] += s;
    }
}

CK_INLINE void scale_row(const float *dy, const float *gamma, size_t n, float *dh, int accumulate) {
    CK_INDEPENDENT
    for (size_t j = 0; j < n; j++) {
        float d = gamma[j] * dy[j];
        dh[j] = accumulate ? dh[j] + d : d;
    }
}

CK_DISPATCH
void ck_layer_scale_backward(const float *dy, const float *h, const float *gamma, size_t rows, size_t n, float *dh,
                             int accumulate, float *dgamma) {
    enum { block = 4 };
    for (size_t first = 0; first < rows; first += block) {
        const size_t count = rows - first < block ? rows - first : block;
        const float *dyb = dy + first * n, *hb = h + first * n;
        float *dhb = dh + first * n;
        if (dgamma && count == block) {
            add_gamma_gradient(dyb, hb, block, n, dgamma);
        } else if (dgamma) {
            for (size_t r = 0; r < count; r++) add_gamma_gradient(dyb + r * n, hb + r * n, 1, n, dgamma);
        }
        for (size_t r = 0; r < count; r++) {
            if (accumulate) {
                scale_row(dyb + r * n, gamma, n, dhb + r * n, 1);
            } else {
                scale_row(dyb + r * n, gamma, n, dhb + r * n, 0);
            }
        }
    }
}
