// Vector kernels of the trainer: fused passes over float32 rows, one thread each.
//
// No allocation, no threads of their own, no global state. Each function picks its code for the running CPU at load
// time (x86-64 baseline, AVX2 or AVX-512). Callers split work over rows.
//
// Conventions. Rows are contiguous unless a leading dimension is passed. `n` is the row length. Reductions over a row
// accumulate in several float32 lanes, those over whole tensors in float64 where the name says so. A backward kernel
// takes `accumulate`: 0 overwrites dx, 1 adds to it; gradients of parameters (dw, db, dgamma) are always added to and
// may be NULL when the parameter is frozen. `y` may alias `x` where a comment says so.
#ifndef CRAFT_KERNELS_H
#define CRAFT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__clang__)
#pragma clang assume_nonnull begin
#define CK_NULLABLE _Nullable
#define CK_NONNULL _Nonnull
#else
#define CK_NULLABLE
#define CK_NONNULL
#endif

// Tells the processor that the caller waits for another one in a loop.
static inline void ck_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// ---- norms (norms.c) -------------------------------------------------------------------------------------------

// LayerNorm: y = (x - mean) * rstd * w + b. mean and rstd [rows] are kept for the backward pass.
void ck_layer_norm(const float *x, const float *w, const float *b, float eps, size_t rows, size_t n,
                   float *y, float *mean, float *rstd);
void ck_layer_norm_backward(const float *dy, const float *x, const float *w, const float *mean, const float *rstd,
                            size_t rows, size_t n, float *dx, int accumulate,
                            float *CK_NULLABLE dw, float *CK_NULLABLE db);

// RMSNorm: y = x * rstd * w, rstd = 1 / sqrt(mean(x^2) + eps). rstd [rows] is kept for the backward pass.
void ck_rms_norm(const float *x, const float *w, float eps, size_t rows, size_t n, float *y, float *rstd);
void ck_rms_norm_backward(const float *dy, const float *x, const float *w, const float *rstd, size_t rows, size_t n,
                          float *dx, int accumulate, float *CK_NULLABLE dw);

// ---- activations (activations.c) -------------------------------------------------------------------------------

// GELU with the exact Gaussian CDF (erf), absolute error of erf below 5e-7 in float32. y may alias x in the forward.
void ck_gelu(const float *x, size_t n, float *y);
void ck_gelu_backward(const float *dy, const float *x, size_t n, float *dx, int accumulate);

// x sigmoid(a x + b x^3): SiLU (1, 0), quick GELU (1.702, 0), GELU by tanh (2 sqrt(2 / pi), 0.044715 of it).
void ck_gated(const float *x, size_t n, float a, float b, float *y);
void ck_gated_backward(const float *dy, const float *x, size_t n, float a, float b, float *dx, int accumulate);

void ck_relu(const float *x, size_t n, float *y);
// `y` is the forward's output: dx = dy where y > 0.
void ck_relu_backward(const float *dy, const float *y, size_t n, float *dx, int accumulate);

// SwiGLU: y = gate * sigmoid(gate) * up.
void ck_swiglu(const float *gate, const float *up, size_t n, float *y);
void ck_swiglu_backward(const float *dy, const float *gate, const float *up, size_t n,
                        float *dgate, float *dup, int accumulate);

// ---- elementwise (elementwise.c) -------------------------------------------------------------------------------

void ck_fill(float value, size_t n, float *y);
void ck_add(const float *a, const float *b, size_t n, float *y);          // y may alias a or b
void ck_axpy(float alpha, const float *x, size_t n, float *y);            // y += alpha x
void ck_scale(float alpha, const float *x, size_t n, float *y);           // y = alpha x; y may alias x
void ck_add_bias(const float *bias, size_t rows, size_t n, float *y);     // every row of y += bias
void ck_fill_rows(const float *row, size_t rows, size_t n, float *y);     // every row of y = row
void ck_column_sum(const float *dy, size_t rows, size_t n, float *db);    // db += sum over rows
// LayerScale residual: y = x + gamma * h, rowwise; backward: dh (=|+=) gamma * dy, dgamma += sum_rows dy * h.
void ck_layer_scale(const float *x, const float *h, const float *gamma, size_t rows, size_t n, float *y);
void ck_layer_scale_backward(const float *dy, const float *h, const float *gamma, size_t rows, size_t n,
                             float *dh, int accumulate, float *CK_NULLABLE dgamma);

// ---- matrix products (products.c, products_bf16.c) -------------------------------------------------------------

// c = alpha op(a) op(b) + beta c, row major: op(a) is [m, k], op(b) [k, n], c [m, n]; lda, ldb and ldc are the lengths
// of the stored rows, op transposes where the flag is 1. c is not read when beta is 0. The bits of an entry of c depend
// on its row of op(a) and its column of op(b) alone, and zeros added at their ends change none. Each has to be asked
// first whether the CPU runs it: ck_sgemm needs AVX-512, ck_bf16_gemm AVX512_BF16. They use 160 KiB of stack.
int ck_sgemm_is_supported(void);
void ck_sgemm(int transposed_a, int transposed_b, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
              const float *b, size_t ldb, float beta, float *c, size_t ldc);
// With op(a) and op(b) rounded to bfloat16, multiplied exactly and summed in float32.
int ck_bf16_gemm_is_supported(void);
void ck_bf16_gemm(int transposed_a, int transposed_b, size_t m, size_t n, size_t k, float alpha, const float *a,
                  size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc);

// ---- attention pieces (attention.c) ----------------------------------------------------------------------------

// In place, row r of `scores` [rows, ld]: softmax(scale * scores[r, 0 ..< limit]) with limit = columns when
// first_limit < 0, else min(columns, first_limit + r) (causal); entries from limit up to `columns` become 0.
void ck_softmax_rows(float *scores, size_t rows, size_t columns, size_t ld, float scale, long first_limit);
// In place on `dp` [rows, ld]: ds = scale * p * (dp - sum_j dp_j p_j). Entries where p = 0 become 0.
void ck_softmax_backward_rows(const float *p, float *dp, size_t rows, size_t columns, size_t ld, float scale);

// Rotates `heads` heads of `head_dim` in each row of x [rows, ld], in place. cosine and sine are [positions, head_dim];
// row r uses position positions[r]. sign = +1 forward, -1 backward (the transpose of the same linear map).
// split_half: partner of dim c is c +- head_dim/2 (Qwen2, Llama): out[c] = x[c] cos[c] - x[c+h/2] sin[c], ...
void ck_rope_split_half(float *x, size_t rows, size_t ld, size_t heads, size_t head_dim,
                        const float *cosine, const float *sine, const int32_t *positions, int sign);
// interleaved: out[2i] = x[2i] cos[2i] - x[2i+1] sin[2i]; out[2i+1] = x[2i+1] cos[2i+1] + x[2i] sin[2i+1].
// The angle table need not agree within a pair (the Pro policy's table does not), so sign = -1 is the exact transpose.
void ck_rope_interleaved(float *x, size_t rows, size_t ld, size_t heads, size_t head_dim,
                         const float *cosine, const float *sine, const int32_t *positions, int sign);

// ---- gradients and optimizer (optimizer.c) ---------------------------------------------------------------------

// Dot product, products and sums in float64.
double ck_dot_f64(const float *a, const float *b, size_t n);
// Upper triangle of the Gram matrix of `count` gradients in one pass over memory, row major [count, count], float64;
// both triangles are written. count <= 8.
void ck_gram_f64(const float *const CK_NONNULL *CK_NONNULL gradients, size_t count, size_t n, double *gram);

// AdamW over one block whose gradient is a weighted sum that is never stored:
//   g = sum_i weights[i] * gradients[i];  p -= lr * decay * p  (decoupled, as torch.optim.AdamW);
//   m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  p -= lr * (m / c1) / (sqrt(v / c2) + eps)
// with c1 = 1 - b1^t, c2 = 1 - b2^t given by the caller. A gradient with weight 0 is not read. count <= 8.
typedef struct {
    float lr, beta1, beta2, eps, weight_decay;
    float bias_correction1, bias_correction2;
} ck_adamw_settings;
void ck_adamw(float *p, float *m, float *v, const float *const CK_NONNULL *CK_NONNULL gradients, const float *weights,
              size_t count, size_t n, const ck_adamw_settings *settings);

// One step of an exponential moving average: average = decay * average + (1 - decay) * p, in place. 0 <= decay <= 1.
// Exact where average and p are equal, and for decay 0 and 1.
void ck_average(float *average, const float *p, float decay, size_t n);

// 1 when every value is finite.
int ck_all_finite(const float *x, size_t n);

// ---- number formats (formats.c) --------------------------------------------------------------------------------

void ck_bf16_to_f32(const uint16_t *x, size_t n, float *y);
void ck_f16_to_f32(const uint16_t *x, size_t n, float *y);
void ck_f32_to_bf16(const float *x, size_t n, uint16_t *y);   // round to nearest even, NaN stays NaN
void ck_f32_to_f16(const float *x, size_t n, uint16_t *y);

// ---- bytes (checksum.c) ----------------------------------------------------------------------------------------

// CRC-32C (Castagnoli), of `n` bytes, continuing from `crc` (0 to start).
uint32_t ck_crc32c(uint32_t crc, const void *data, size_t n);
// The same by table: what ck_crc32c runs where the CPU has no CRC instruction.
uint32_t ck_crc32c_table(uint32_t crc, const void *data, size_t n);

// ---- images (image.c) ------------------------------------------------------------------------------------------

// One pass of a separable resampling: out[o] = sum_k weights[o * taps + k] * in[start[o] + k], over `lines` lines.
// Horizontal: a line is a row of `width_in` pixels x `channels`; vertical: handled by the caller as rows of floats.
void ck_resample_horizontal(const float *in, size_t lines, size_t width_in, size_t channels, const int32_t *start,
                            const float *weights, size_t taps, size_t width_out, float *out);
void ck_resample_vertical(const float *in, size_t row_length, const int32_t *start, const float *weights, size_t taps,
                          size_t height_out, float *out);
void ck_u8_to_f32(const uint8_t *x, float scale, size_t n, float *y);

#if defined(__clang__)
#pragma clang assume_nonnull end
#endif

#ifdef __cplusplus
}
#endif

#endif
