// Matrix products of float32 operands rounded to bfloat16, for processors with AVX512_BF16.
//
// As ck_sgemm, with A and B rounded while they are packed, neighbours along k in pairs, as the instruction takes them.
#include "kernels.h"
#include "vector.h"

#if defined(__x86_64__) && !defined(CK_BASELINE_ONLY)

#include "products.h"

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))
#define AVX512_INLINE static inline __attribute__((always_inline, target("avx512f,avx512bw,avx512vl,avx512bf16")))

enum {
    block_pairs = 128,  // pairs along k: a panel of B is 16 KiB
    block_rows = 256,   // rows of A, rounded: 128 KiB
};

int ck_bf16_gemm_is_supported(void) {
    return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl");
}

// ---- tiles -----------------------------------------------------------------------------------------------------

// c [rows, 16 * vectors] = beta c + alpha a b, with the pair a(i, q) = a[q * 8 + i].
AVX512_INLINE void tile(const int rows, const int vectors, const uint32_t *a, const uint32_t *b, size_t pairs,
                        const Update *update, float *c) {
    __m512 sum[tile_rows][2];
    begin_tile(rows, vectors, update, c, sum);
    for (size_t q = 0; q < pairs; q++, a += tile_rows, b += panel_columns) {
        __m512bh column[2];
        UNROLL for (int v = 0; v < vectors; v++) column[v] = (__m512bh)_mm512_load_si512(b + v * lanes);
        UNROLL for (int i = 0; i < rows; i++) {
            const __m512bh entry = (__m512bh)_mm512_set1_epi32((int)a[i]);
            UNROLL for (int v = 0; v < vectors; v++) sum[i][v] = _mm512_dpbf16_ps(sum[i][v], entry, column[v]);
        }
    }
    end_tile(rows, vectors, update, sum, c);
}

#define TILE_CASE(rows, vectors) \
    case 2 * (rows) + (vectors) - 1: tile(rows, vectors, a, b, pairs, update, c); break;
#define TILE_CASES(rows) TILE_CASE(rows, 1) TILE_CASE(rows, 2)

AVX512 static void any_tile(size_t rows, size_t vectors, const uint32_t *a, const uint32_t *b, size_t pairs,
                            const Update *update, float *c) {
    switch (2 * rows + vectors - 1) {
        TILE_CASES(1) TILE_CASES(2) TILE_CASES(3) TILE_CASES(4) TILE_CASES(5) TILE_CASES(6) TILE_CASES(7) TILE_CASES(8)
    }
}

// ---- packing ---------------------------------------------------------------------------------------------------

// 16 pairs (x[j], y[j]).
AVX512_INLINE __m512i pairs_of(__m512 x, __m512 y) {
    const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(y, x);  // x in the lower half
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,  //
                                           23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, both);
}

// Pairs along the stored rows x [rows <= 16, width], transposed: [(width + 1) / 2, columns <= 16], rows `stride` apart.
// Missing entries are 0.
AVX512_INLINE void transposed_pairs(const float *x, size_t ld, size_t rows, size_t width, const int columns,
                                    size_t stride, uint32_t *y) {
    for (size_t p = 0; p < width; p += 2 * lanes) {
        const __mmask16 low = first_lanes(width - p), high = width - p > lanes ? first_lanes(width - p - lanes) : 0;
        __m512i r[lanes], t[lanes];
        UNROLL for (int i = 0; i < lanes; i++) {
            if ((size_t)i < rows) {
                const float *row = x + (size_t)i * ld + p;
                r[i] = (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(high, row + lanes),
                                                    _mm512_maskz_loadu_ps(low, row));
            } else {
                r[i] = _mm512_setzero_si512();
            }
        }
        // Within 128-bit quarters first, then the quarters.
        UNROLL for (int i = 0; i < lanes; i += 2) {
            t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
            t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
        }
        UNROLL for (int i = 0; i < lanes; i += 4) {
            r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
            r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
            r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
            r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
        }
        UNROLL for (int i = 0; i < 4; i++) {
            const __m512i a = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
            const __m512i b = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
            const __m512i c = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
            const __m512i d = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
            t[i] = _mm512_shuffle_i32x4(a, c, 0x88);
            t[i + 8] = _mm512_shuffle_i32x4(a, c, 0xdd);
            t[i + 4] = _mm512_shuffle_i32x4(b, d, 0x88);
            t[i + 12] = _mm512_shuffle_i32x4(b, d, 0xdd);
        }
        const size_t pairs = (width - p + 1) / 2;
        UNROLL for (int i = 0; i < lanes; i++) {
            if ((size_t)i < pairs) _mm512_mask_storeu_epi32(y + (size_t)i * stride, first_lanes((size_t)columns), t[i]);
        }
        y += lanes * stride;
    }
}

// A panel of B, pairs [(depth + 1) / 2, 32], of which `columns` exist; the rest of its last vector is 0.
AVX512 static void pack_panel(int transposed, const float *b, size_t ldb, size_t depth, size_t columns,
                              uint32_t *panel) {
    if (transposed) {
        for (size_t j = 0; j < columns; j += lanes) {
            const size_t rows = columns - j < lanes ? columns - j : lanes;
            transposed_pairs(b + j * ldb, ldb, rows, depth, lanes, panel_columns, panel + j);
        }
        return;
    }
    const __mmask16 low = first_lanes(columns), high = columns > lanes ? first_lanes(columns - lanes) : 0;
    for (size_t p = 0; p < depth; p += 2, b += 2 * ldb, panel += panel_columns) {
        // An odd end is paired with zeros.
        const __mmask16 low2 = p + 1 < depth ? low : 0, high2 = p + 1 < depth ? high : 0;
        _mm512_store_si512(panel, pairs_of(_mm512_maskz_loadu_ps(low, b), _mm512_maskz_loadu_ps(low2, b + ldb)));
        _mm512_store_si512(panel + lanes, pairs_of(_mm512_maskz_loadu_ps(high, b + lanes),
                                                   _mm512_maskz_loadu_ps(high2, b + ldb + lanes)));
    }
}

// Rows of op(A) as tiles of pairs, [(depth + 1) / 2, 8], one after the other.
AVX512 static void pack_rows(int transposed, const float *a, size_t lda, size_t depth, size_t rows, uint32_t *packed) {
    const size_t pairs = (depth + 1) / 2;
    for (size_t i = 0; i < rows; i += tile_rows, packed += pairs * tile_rows) {
        const size_t count = rows - i < tile_rows ? rows - i : tile_rows;
        if (!transposed) {
            transposed_pairs(a + i * lda, lda, count, depth, tile_rows, tile_rows, packed);
            continue;
        }
        const __mmask16 mask = first_lanes(count);
        for (size_t q = 0; q < pairs; q++) {
            const float *row = a + 2 * q * lda + i;
            const __mmask16 next = 2 * q + 1 < depth ? mask : 0;
            const __m512i both = pairs_of(_mm512_maskz_loadu_ps(mask, row), _mm512_maskz_loadu_ps(next, row + lda));
            _mm512_mask_storeu_epi32(packed + q * tile_rows, 0xff, both);
        }
    }
}

// ---- the product -----------------------------------------------------------------------------------------------

void ck_bf16_gemm(int transposed_a, int transposed_b, size_t m, size_t n, size_t k, float alpha, const float *a,
                  size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc) {
    if (k == 0) scale_matrix(beta, m, n, c, ldc);
    if (m == 0 || k == 0) return;
    _Alignas(64) uint32_t panel[block_pairs * panel_columns];
    _Alignas(64) uint32_t packed[block_rows * block_pairs];
    const size_t part = row_part(m, block_rows);
    for (size_t p = 0; p < k; p += 2 * block_pairs) {
        const size_t depth = least(2 * block_pairs, k - p), pairs = (depth + 1) / 2;
        Update update = {alpha, p == 0 ? beta : 1, ldc, 0};
        for (size_t i = 0; i < m; i += part) {
            const size_t rows = least(part, m - i);
            pack_rows(transposed_a, transposed_a ? a + p * lda + i : a + i * lda + p, lda, depth, rows, packed);
            for (size_t j = 0; j < n; j += panel_columns) {
                const size_t columns = least(panel_columns, n - j), vectors = (columns + lanes - 1) / lanes;
                update.last = first_lanes(columns - (vectors - 1) * lanes);
                pack_panel(transposed_b, transposed_b ? b + j * ldb + p : b + p * ldb + j, ldb, depth, columns, panel);
                for (size_t t = 0; t < rows; t += tile_rows) {
                    any_tile(least(tile_rows, rows - t), vectors, packed + t * pairs, panel, pairs, &update,
                             c + (i + t) * ldc + j);
                }
            }
        }
    }
}

#else

int ck_bf16_gemm_is_supported(void) { return 0; }

void ck_bf16_gemm(int transposed_a, int transposed_b, size_t m, size_t n, size_t k, float alpha, const float *a,
                  size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc) {
    (void)transposed_a, (void)transposed_b, (void)m, (void)n, (void)k, (void)alpha, (void)a, (void)lda, (void)b;
    (void)ldb, (void)beta, (void)c, (void)ldc;
    __builtin_trap();
}

#endif
