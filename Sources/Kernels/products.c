// Matrix products in float32 for processors with AVX-512.
//
// Goto and van de Geijn's scheme: B is packed into panels of 32 columns that stay in the L1 cache, tiles of 8 rows of A
// run over each. An entry of the result is the sum of one chain of fused multiply-adds per 256 steps of k,
// whichever other rows and columns are computed with it, and zeros at the end of k change nothing.
#include "kernels.h"
#include "vector.h"

#if defined(__x86_64__) && !defined(CK_BASELINE_ONLY)

#include "products.h"

#define AVX512 __attribute__((target("avx512f")))

enum {
    block_depth = 256,  // a panel of B is 32 KiB of the L1 cache
    block_rows = 384,   // rows of A that are run over every panel, out of the L2 cache
    packed_rows = 128,  // the same where A is transposed and is packed
};

int ck_sgemm_is_supported(void) { return __builtin_cpu_supports("avx512f"); }

// ---- tiles -----------------------------------------------------------------------------------------------------

// c [rows, 16 * vectors] = beta c + alpha a b, with a(i, p) = a[i * stride + p], or where A is packed a[p * 8 + i].
AVX512F_INLINE void tile(const int rows, const int vectors, const int packed, const float *a, size_t stride,
                         const float *b, size_t depth, const Update *update, float *c) {
    __m512 sum[tile_rows][2];
    const float *row[tile_rows];
    begin_tile(rows, vectors, update, c, sum);
    UNROLL for (int i = 0; i < rows; i++) row[i] = a + (size_t)i * stride;
    for (size_t p = 0; p < depth; p++, b += panel_columns) {
        __m512 column[2];
        UNROLL for (int v = 0; v < vectors; v++) column[v] = _mm512_load_ps(b + v * lanes);
        UNROLL for (int i = 0; i < rows; i++) {
            const __m512 entry = _mm512_set1_ps(packed ? a[p * tile_rows + (size_t)i] : row[i][p]);
            UNROLL for (int v = 0; v < vectors; v++) sum[i][v] = _mm512_fmadd_ps(entry, column[v], sum[i][v]);
        }
    }
    end_tile(rows, vectors, update, sum, c);
}

#define TILE_CASE(rows, vectors) \
    case 2 * (rows) + (vectors) - 1: tile(rows, vectors, packed, a, stride, b, depth, update, c); break;
#define TILE_CASES(rows) TILE_CASE(rows, 1) TILE_CASE(rows, 2)

AVX512F_INLINE void any_tile(size_t rows, size_t vectors, const int packed, const float *a, size_t stride,
                             const float *b, size_t depth, const Update *update, float *c) {
    switch (2 * rows + vectors - 1) {
        TILE_CASES(1) TILE_CASES(2) TILE_CASES(3) TILE_CASES(4) TILE_CASES(5) TILE_CASES(6) TILE_CASES(7) TILE_CASES(8)
    }
}

AVX512 static void rows_tile(size_t rows, size_t vectors, const float *a, size_t stride, const float *b, size_t depth,
                             const Update *update, float *c) {
    any_tile(rows, vectors, 0, a, stride, b, depth, update, c);
}

AVX512 static void packed_tile(size_t rows, size_t vectors, const float *a, const float *b, size_t depth,
                               const Update *update, float *c) {
    any_tile(rows, vectors, 1, a, 0, b, depth, update, c);
}

// ---- packing ---------------------------------------------------------------------------------------------------

// Transposes 16 rows of `width` <= 16 entries, of which `rows` exist, to `width` rows of 16 at a distance of
// panel_columns; missing entries become 0.
AVX512F_INLINE void transpose16(const float *x, size_t ld, size_t rows, size_t width, float *y) {
    const __mmask16 mask = first_lanes(width);
    __m512 r[lanes], t[lanes];
    UNROLL for (int i = 0; i < lanes; i++) {
        r[i] = (size_t)i < rows ? _mm512_maskz_loadu_ps(mask, x + (size_t)i * ld) : _mm512_setzero_ps();
    }
    // Within 128-bit quarters first, then the quarters.
    UNROLL for (int i = 0; i < lanes; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    UNROLL for (int i = 0; i < lanes; i += 4) {
        r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        const __m512 low = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
        const __m512 high = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
        const __m512 low2 = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
        const __m512 high2 = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
        t[i] = _mm512_shuffle_f32x4(low, low2, 0x88);
        t[i + 8] = _mm512_shuffle_f32x4(low, low2, 0xdd);
        t[i + 4] = _mm512_shuffle_f32x4(high, high2, 0x88);
        t[i + 12] = _mm512_shuffle_f32x4(high, high2, 0xdd);
    }
    UNROLL for (int i = 0; i < lanes; i++) {
        if ((size_t)i < width) _mm512_store_ps(y + i * panel_columns, t[i]);
    }
}

// A panel of B, [depth, 32], of which `columns` exist; the rest of its last vector is 0.
AVX512 static void pack_panel(int transposed, const float *b, size_t ldb, size_t depth, size_t columns, float *panel) {
    if (transposed) {
        for (size_t first = 0; first < columns; first += lanes) {
            const size_t rows = columns - first < lanes ? columns - first : lanes;
            for (size_t p = 0; p < depth; p += lanes) {
                const size_t width = depth - p < lanes ? depth - p : lanes;
                transpose16(b + first * ldb + p, ldb, rows, width, panel + p * panel_columns + first);
            }
        }
    } else if (columns == panel_columns) {
        for (size_t p = 0; p < depth; p++, b += ldb, panel += panel_columns) {
            _mm512_store_ps(panel, _mm512_loadu_ps(b));
            _mm512_store_ps(panel + lanes, _mm512_loadu_ps(b + lanes));
        }
    } else {
        const __mmask16 low = first_lanes(columns), high = columns > lanes ? first_lanes(columns - lanes) : 0;
        for (size_t p = 0; p < depth; p++, b += ldb, panel += panel_columns) {
            _mm512_store_ps(panel, _mm512_maskz_loadu_ps(low, b));
            _mm512_store_ps(panel + lanes, _mm512_maskz_loadu_ps(high, b + lanes));
        }
    }
}

// Rows of a transposed A, as tiles [depth, 8] one after the other.
AVX512 static void pack_rows(const float *a, size_t lda, size_t depth, size_t rows, float *packed) {
    for (size_t first = 0; first < rows; first += tile_rows) {
        const size_t count = rows - first < tile_rows ? rows - first : tile_rows;
        const __mmask16 mask = first_lanes(count);
        for (size_t p = 0; p < depth; p++, packed += tile_rows) {
            const __m512 entries = _mm512_maskz_loadu_ps(mask, a + p * lda + first);
            _mm512_mask_storeu_ps(packed, 0xff, entries);
        }
    }
}

// ---- the product -----------------------------------------------------------------------------------------------

void ck_sgemm(int transposed_a, int transposed_b, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
              const float *b, size_t ldb, float beta, float *c, size_t ldc) {
    if (k == 0) scale_matrix(beta, m, n, c, ldc);
    if (m == 0 || k == 0) return;
    _Alignas(64) float panel[block_depth * panel_columns];
    _Alignas(64) float packed[packed_rows * block_depth];
    const size_t part = row_part(m, transposed_a ? packed_rows : block_rows);
    for (size_t p = 0; p < k; p += block_depth) {
        const size_t depth = least(block_depth, k - p);
        Update update = {alpha, p == 0 ? beta : 1, ldc, 0};
        for (size_t i = 0; i < m; i += part) {
            const size_t rows = least(part, m - i);
            if (transposed_a) pack_rows(a + p * lda + i, lda, depth, rows, packed);
            // Tiles of nearly equal height: in short ones each sum waits for itself.
            const size_t tiles = (rows + tile_rows - 1) / tile_rows;
            for (size_t j = 0; j < n; j += panel_columns) {
                const size_t columns = least(panel_columns, n - j), vectors = (columns + lanes - 1) / lanes;
                update.last = first_lanes(columns - (vectors - 1) * lanes);
                pack_panel(transposed_b, transposed_b ? b + j * ldb + p : b + p * ldb + j, ldb, depth, columns, panel);
                for (size_t t = 0; t < tiles; t++) {
                    if (transposed_a) {
                        const size_t first = t * tile_rows;
                        packed_tile(least(tile_rows, rows - first), vectors, packed + first * depth, panel, depth,
                                    &update, c + (i + first) * ldc + j);
                    } else {
                        const size_t first = rows * t / tiles, end = rows * (t + 1) / tiles;
                        rows_tile(end - first, vectors, a + (i + first) * lda + p, lda, panel, depth, &update,
                                  c + (i + first) * ldc + j);
                    }
                }
            }
        }
    }
}

#else

int ck_sgemm_is_supported(void) { return 0; }

void ck_sgemm(int transposed_a, int transposed_b, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
              const float *b, size_t ldb, float beta, float *c, size_t ldc) {
    (void)transposed_a, (void)transposed_b, (void)m, (void)n, (void)k, (void)alpha, (void)a, (void)lda, (void)b;
    (void)ldb, (void)beta, (void)c, (void)ldc;
    __builtin_trap();
}

#endif
