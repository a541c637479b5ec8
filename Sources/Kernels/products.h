// What the two matrix products share. Internal; nothing here is visible outside the target.
#ifndef CRAFT_KERNELS_PRODUCTS_H
#define CRAFT_KERNELS_PRODUCTS_H

#include <immintrin.h>

#include "vector.h"

#define AVX512F_INLINE static inline __attribute__((always_inline, target("avx512f")))
#define UNROLL _Pragma("clang loop unroll(full)")

// A tile of the result is 8 rows of up to two AVX-512 vectors.
enum { lanes = 16, tile_rows = 8, panel_columns = 2 * lanes };

// How a tile's sums go into C.
typedef struct {
    float alpha, beta;
    size_t ldc;
    __mmask16 last;  // columns of the tile's last vector
} Update;

CK_INLINE size_t least(size_t a, size_t b) { return a < b ? a : b; }

// A mask of the first `count` lanes.
CK_INLINE __mmask16 first_lanes(size_t count) { return count >= lanes ? 0xffff : (__mmask16)((1u << count) - 1); }

// The size of the parts into which `count` rows are cut evenly, each at most `most` and made of whole tiles.
CK_INLINE size_t row_part(size_t count, size_t most) {
    const size_t parts = (count + most - 1) / most;
    const size_t size = (count + parts - 1) / parts;
    return (size + tile_rows - 1) / tile_rows * tile_rows;
}

// Zeroes a tile's sums, and asks for the rows of C, which are there when the sums are done.
AVX512F_INLINE void begin_tile(const int rows, const int vectors, const Update *update, const float *c,
                               __m512 (*sum)[2]) {
    UNROLL for (int i = 0; i < rows; i++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            _mm_prefetch((const char *)(c + (size_t)i * update->ldc + v * lanes), _MM_HINT_T0);
            sum[i][v] = _mm512_setzero_ps();
        }
    }
}

// c = beta c + alpha sum.
AVX512F_INLINE void end_tile(const int rows, const int vectors, const Update *update, __m512 (*sum)[2], float *c) {
    const __m512 alpha = _mm512_set1_ps(update->alpha), beta = _mm512_set1_ps(update->beta);
    UNROLL for (int i = 0; i < rows; i++, c += update->ldc) {
        UNROLL for (int v = 0; v < vectors; v++) {
            const __mmask16 mask = v == vectors - 1 ? update->last : (__mmask16)0xffff;
            float *target = c + v * lanes;
            __m512 value = _mm512_mul_ps(alpha, sum[i][v]);
            if (update->beta != 0) value = _mm512_fmadd_ps(beta, _mm512_maskz_loadu_ps(mask, target), value);
            _mm512_mask_storeu_ps(target, mask, value);
        }
    }
}

// Products over nothing: c = beta c.
CK_INLINE void scale_matrix(float beta, size_t m, size_t n, float *c, size_t ldc) {
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];
    }
}

#endif
