// What the kernels share: run-time dispatch, loop hints and elementary functions written so that loops around them
// vectorise. Internal; nothing here is visible outside the target.
#ifndef CRAFT_KERNELS_VECTOR_H
#define CRAFT_KERNELS_VECTOR_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// Compiles a function once for each CPU generation; the loader binds the best one (an ELF IFUNC). Elsewhere, and with
// CK_BASELINE_ONLY (the same bits on every CPU, several times slower), it is compiled once for the target's baseline.
#if defined(__x86_64__) && defined(__ELF__) && !defined(CK_BASELINE_ONLY)
#define CK_DISPATCH __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define CK_DISPATCH
#endif

// Helpers of a dispatched function must inline: a call would leave them compiled for the baseline.
#define CK_INLINE static inline __attribute__((always_inline))

#if defined(__clang__)
// The iterations of the next loop are independent, even where its pointers are equal (in-place use).
#define CK_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
// First statement of a block: sums in it may be split over lanes. Without it a float sum stays scalar.
#define CK_REASSOCIATE _Pragma("clang fp reassociate(on)")
#else
#define CK_INDEPENDENT
#define CK_REASSOCIATE
#endif

CK_INLINE uint32_t ck_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

CK_INLINE float ck_float(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// 2^k e^r for x = k ln 2 + r, |r| <= ln(2) / 2, with 2^k given as 2^(k - 1) times 2 so that k = 128 does not overflow
// early. Relative error below 1.2e-7 for -86.98 <= x <= 88.72; anything outside, except that NaN stays NaN.
//
// e^r = 1 + r + r^2 P(r), P minimax of degree 4 (scripts/reference/kernel_polynomials.py). Adding 1.5 * 2^23 leaves k in
// the low bits of the sum.
CK_INLINE float ck_exp_in_range(float x) {
    const float shifter = 0x1.8p23f;
    float shifted = x * 1.44269504f + shifter;
    float k = shifted - shifter;
    float r = x - k * 0.693359375f;  // k * this constant is exact: ln 2 in two pieces, as in Cephes
    r = r + k * 2.12194440e-4f;
    float p = 0.00138145394f;
    p = p * r + 0.00836874545f;
    p = p * r + 0.041668389f;
    p = p * r + 0.166665211f;
    p = p * r + 0.49999994f;
    p = p * (r * r) + r;
    p = p + 1.0f;
    return (p + p) * ck_float((ck_bits(shifted) << 23) + (126u << 23));
}

// exp(x) for x <= 0 or a little above. Results under 1.7e-38 become 0, NaN stays NaN.
CK_INLINE float ck_exp_nonpositive(float x) { return x < -86.98f ? 0.0f : ck_exp_in_range(x); }

// exp(x). Results under 1.7e-38 become 0, overflow becomes infinity, NaN stays NaN.
CK_INLINE float ck_exp(float x) { return x > 88.7228394f ? INFINITY : ck_exp_nonpositive(x); }

// 1 / (1 + exp(-x)).
CK_INLINE float ck_sigmoid(float x) { return 1.0f / (1.0f + ck_exp(-x)); }

// |x|, held at 12.8: beyond it Phi(-|x|) is under 1e-37, and holding it keeps the exponential in range, its products
// normal numbers, and infinity * 0 away. NaN stays NaN.
CK_INLINE float ck_gaussian_argument(float x) { return fabsf(x) > 12.8f ? 12.8f : fabsf(x); }

CK_INLINE float ck_gaussian_density(float a) { return ck_exp_in_range(-0.5f * a * a); }

// The Gaussian distribution function of -a for a from ck_gaussian_argument, given density = exp(-a^2 / 2); absolute
// error below 6e-8, so the implied erf is within 1.2e-7. With w = p a / (1 + p a), p = 0.3:
//
//     Phi(-a) = exp(-a^2 / 2) (1/2 - w T(w))
//
// the form of Abramowitz and Stegun 7.1.26, made exact at 0. T is the minimax polynomial of degree 7
// (scripts/reference/kernel_polynomials.py).
CK_INLINE float ck_gaussian_tail(float a, float density) {
    float w = 0.3f * a / (1.0f + 0.3f * a);
    float t = -0.0209336597f;
    t = t * w + 0.0901875719f;
    t = t * w - 0.0665535852f;
    t = t * w - 0.137894958f;
    t = t * w + 0.0539712943f;
    t = t * w + 0.699671805f;
    t = t * w - 1.44797981f;
    t = t * w + 1.32980776f;
    return density * (0.5f - w * t);
}

// db[j] += sum over `rows` rows of dy[r][j]. Eight rows at a time: one read and write of db, a short sum.
CK_INLINE void ck_add_columns(const float *dy, size_t rows, size_t n, float *db) {
    size_t r = 0;
    for (; r + 8 <= rows; r += 8) {
        const float *d = dy + r * n;
        CK_INDEPENDENT
        for (size_t j = 0; j < n; j++) {
            float a = (d[j] + d[n + j]) + (d[2 * n + j] + d[3 * n + j]);
            float b = (d[4 * n + j] + d[5 * n + j]) + (d[6 * n + j] + d[7 * n + j]);
            db[j] += a + b;
        }
    }
    for (; r + 2 <= rows; r += 2) {
        const float *d = dy + r * n;
        CK_INDEPENDENT
        for (size_t j = 0; j < n; j++) db[j] += d[j] + d[n + j];
    }
    if (r < rows) {
        const float *d = dy + r * n;
        CK_INDEPENDENT
        for (size_t j = 0; j < n; j++) db[j] += d[j];
    }
}

#endif
