// Pointwise nonlinearities, forward and backward.
#include "kernels.h"
#include "vector.h"

// ---- GELU ------------------------------------------------------------------------------------------------------

// GELU(x) = x Phi(x) = max(x, 0) - |x| Phi(-|x|), which keeps the relative accuracy of the negative tail.
CK_DISPATCH
void ck_gelu(const float *x, size_t n, float *y) {
    CK_INDEPENDENT
    for (size_t i = 0; i < n; i++) {
        float a = ck_gaussian_argument(x[i]);
        float tail = ck_gaussian_tail(a, ck_gaussian_density(a));
        y[i] = (x[i] < 0 ? 0 : x[i]) - a * tail;
    }
}

// d/dx x Phi(x) = Phi(x) + x phi(x), phi(x) = exp(-x^2 / 2) / sqrt(2 pi). With q = |x| phi(x) - Phi(-|x|) that is 1 + q
// on the right and -q on the left.
CK_INLINE void gelu_backward(const float *dy, const float *x, size_t n, float *dx, int accumulate) {
    CK_INDEPENDENT
    for (size_t i = 0; i < n; i++) {
        float a = ck_gaussian_argument(x[i]);
        float density = ck_gaussian_density(a);
        float q = a * density * 0.398942280f - ck_gaussian_tail(a, density);
        float d = dy[i] * (x[i] < 0 ? -q : 1.0f + q);
        dx[i] = accumulate ? dx[i] + d : d;
    }
}

CK_DISPATCH
void ck_gelu_backward(const float *dy, const float *x, size_t n, float *dx, int accumulate) {
    if (accumulate) {
        gelu_backward(dy, x, n, dx, 1);
    } else {
        gelu_backward(dy, x, n, dx, 0);
    }
}

// ---- x sigmoid(a x + b x^3): SiLU, and what stands in for GELU ---------------------------------------------------

CK_DISPATCH
void ck_gated(const float *x, size_t n, float a, float b, float *y) {
    CK_INDEPENDENT
    for (size_t i = 0; i < n; i++) y[i] = x[i] * ck_sigmoid(x[i] * (a + b * x[i] * x[i]));
}

// With s = sigmoid(a x + b x^3): s + x s (1 - s) (a + 3 b x^2).
CK_INLINE void gated_backward(const float *dy, const float *x, size_t n, float a, float b, float *dx, int accumulate) {
    CK_INDEPENDENT
    for (size_t i = 0; i < n; i++) {
        float square = x[i] * x[i];
        float s = ck_sigmoid(x[i] * (a + b * square));
        float d = dy[i] * (s + x[i] * s * (1.0f - s) * (a + 3.0f * b * square));
        dx[i] = accumulate ? dx[i] + d : d;
    }
}

CK_DISPATCH
void ck_gated_backward(const float *dy, const float *x, size_t n, float a, float b, float *dx, int accumulate) {
    if (accumulate) {
        gated_backward(dy, x, n, a, b, dx, 1);
    } else {
        gated_backward(dy, x, n, a, b, dx, 0);
    }
}

// ---- ReLU ------------------------------------------------------------------------------------------------------

CK_DISPATCH
void ck_relu(const float *x, size_t n, float *y) {
    CK_INDEPENDENT
    for (size_t i = 0; i < n; i++) y[i] = x[i] < 0 ? 0 : x[i];  // this way round NaN stays NaN
}

CK_INLINE void relu_backward(const float *dy, const float *y, size_t n, float *dx, int accumulate) {
    CK_INDEPENDENT
    for (size_t i = 0; i < n; i++) {
        float d = y[i] > 0 ? dy[i] : 0;
        dx[i] = accumulate ? dx[i] + d : d;
    }
}

CK_DISPATCH
void ck_relu_backward(const float *dy, const float *y, size_t n, float *dx, int accumulate) {
    if (accumulate) {
        relu_backward(dy, y, n, dx, 1);
    } else {
        relu_backward(dy, y, n, dx, 0);
    }
}

// ---- SwiGLU ----------------------------------------------------------------------------------------------------

CK_DISPATCH
void ck_swiglu(const float *gate, const float *up, size_t n, float *y) {
    CK_INDEPENDENT
    for (size_t i = 0; i < n; i++) y[i] = gate[i] * ck_sigmoid(gate[i]) * up[i];
}

// With s = sigmoid(gate): dgate = dy * up * s * (1 + gate * (1 - s)), dup = dy * gate * s.
CK_INLINE void swiglu_backward(const float *dy, const float *gate, const float *up, size_t n, float *dgate, float *dup,
                               int accumulate) {
    CK_INDEPENDENT
    for (size_t i = 0; i < n; i++) {
        float g = gate[i];
        float s = ck_sigmoid(g);
        float dg = dy[i] * up[i] * s * (1.0f + g * (1.0f - s));
        float du = dy[i] * g * s;
        dgate[i] = accumulate ? dgate[i] + dg : dg;
        dup[i] = accumulate ? dup[i] + du : du;
    }
}

CK_DISPATCH
void ck_swiglu_backward(const float *dy, const float *gate, const float *up, size_t n, float *dgate, float *dup,
                        int accumulate) {
    if (accumulate) {
        swiglu_backward(dy, gate, up, n, dgate, dup, 1);
    } else {
        swiglu_backward(dy, gate, up, n, dgate, dup, 0);
    }
}
