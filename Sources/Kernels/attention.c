// Row softmax with a causal limit, its backward pass, and rotary position embeddings.
#include "kernels.h"
#include "vector.h"

// ---- softmax ---------------------------------------------------------------------------------------------------

// Maps a float to an integer of the same order, so that a maximum vectorises as an integer reduction. Its own inverse
// on the integers. A NaN with a clear sign bit sorts above infinity; either kind makes the row's exponentials NaN.
CK_INLINE int32_t ordered(float x) {
    int32_t bits = (int32_t)ck_bits(x);
    return bits ^ (int32_t)((uint32_t)(bits >> 31) >> 1);
}

CK_INLINE float from_ordered(int32_t key) { return ck_float((uint32_t)(key ^ (int32_t)((uint32_t)(key >> 31) >> 1))); }

// Entries of a vector of exponentials: one AVX-512 register.
enum { width = 16 };

// y = exp(scale * x - shift) over n entries, in place too. Returns the sum of y[skip ..< n].
CK_INLINE float exponentials(const float *x, float scale, float shift, size_t n, size_t skip, float *y) {
    CK_REASSOCIATE
    float s = 0;
    CK_INDEPENDENT
    for (size_t j = 0; j < n; j++) {
        float e = ck_exp_nonpositive(scale * x[j] - shift);
        y[j] = e;
        s += j < skip ? 0 : e;
    }
    return s;
}

CK_INLINE void softmax(float *x, float scale, size_t n) {
    if (n == 0) return;
    int32_t greatest = INT32_MIN;
    for (size_t j = 0; j < n; j++) {
        int32_t key = ordered(scale * x[j]);
        greatest = key > greatest ? key : greatest;
    }
    const float shift = from_ordered(greatest);

    // Causal rows have every length, and one at a time the exponentials of the last n % 16 entries would cost more than
    // the rest of the row. So they go through a vector too: the row's last 16 entries, some for the second time.
    float last[width];
    float total;
    if (n < width) {
        for (size_t j = 0; j < width; j++) last[j] = j < n ? scale * x[j] : -INFINITY;
        total = exponentials(last, 1, shift, width, 0, last);
        for (size_t j = 0; j < n; j++) x[j] = last[j];
    } else {
        const size_t whole = n / width * width;
        float *end = x + n - width;
        memcpy(last, end, sizeof last);
        total = exponentials(x, scale, shift, whole, 0, x);
        if (whole < n) total += exponentials(last, scale, shift, width, width - (n - whole), end);
    }
    const float inverse = 1.0f / total;
    CK_INDEPENDENT
    for (size_t j = 0; j < n; j++) x[j] *= inverse;
}

CK_DISPATCH
void ck_softmax_rows(float *scores, size_t rows, size_t columns, size_t ld, float scale, long first_limit) {
    for (size_t r = 0; r < rows; r++) {
        float *row = scores + r * ld;
        size_t limit = columns;
        if (first_limit >= 0 && (size_t)first_limit + r < columns) limit = (size_t)first_limit + r;
        softmax(row, scale, limit);
        if (limit < columns) memset(row + limit, 0, (columns - limit) * sizeof *row);
    }
}

CK_DISPATCH
void ck_softmax_backward_rows(const float *p, float *dp, size_t rows, size_t columns, size_t ld, float scale) {
    for (size_t r = 0; r < rows; r++, p += ld, dp += ld) {
        float dot = 0;
        {
            CK_REASSOCIATE
            // Tested rather than multiplied: beyond the causal limit dp may hold anything.
            for (size_t j = 0; j < columns; j++) dot += p[j] == 0 ? 0 : dp[j] * p[j];
        }
        CK_INDEPENDENT
        for (size_t j = 0; j < columns; j++) dp[j] = p[j] == 0 ? 0 : scale * p[j] * (dp[j] - dot);
    }
}

// ---- rotary embeddings -----------------------------------------------------------------------------------------

// One pair of the map (x1, x2) -> (c1 x1 - s1 x2, s2 x1 + c2 x2), or of its transpose when `transposed`.
CK_INLINE void rotate(float *x1, float *x2, float c1, float c2, float s1, float s2, int transposed) {
    const float a = *x1, b = *x2;
    *x1 = c1 * a + (transposed ? s2 : -s1) * b;
    *x2 = c2 * b + (transposed ? -s1 : s2) * a;
}

CK_INLINE void rotate_split_half(float *x, size_t half, const float *cosine, const float *sine, int transposed) {
    CK_INDEPENDENT
    for (size_t c = 0; c < half; c++) {
        rotate(&x[c], &x[c + half], cosine[c], cosine[c + half], sine[c], sine[c + half], transposed);
    }
}

CK_INLINE void rotate_interleaved(float *x, size_t half, const float *cosine, const float *sine, int transposed) {
    CK_INDEPENDENT
    for (size_t i = 0; i < half; i++) {
        rotate(&x[2 * i], &x[2 * i + 1], cosine[2 * i], cosine[2 * i + 1], sine[2 * i], sine[2 * i + 1], transposed);
    }
}

CK_DISPATCH
void ck_rope_split_half(float *x, size_t rows, size_t ld, size_t heads, size_t head_dim, const float *cosine,
                        const float *sine, const int32_t *positions, int sign) {
    const size_t half = head_dim / 2;
    for (size_t r = 0; r < rows; r++) {
        const float *c = cosine + (size_t)positions[r] * head_dim, *s = sine + (size_t)positions[r] * head_dim;
        for (size_t h = 0; h < heads; h++) {
            float *head = x + r * ld + h * head_dim;
            if (sign < 0) {
                rotate_split_half(head, half, c, s, 1);
            } else {
                rotate_split_half(head, half, c, s, 0);
            }
        }
    }
}

CK_DISPATCH
void ck_rope_interleaved(float *x, size_t rows, size_t ld, size_t heads, size_t head_dim, const float *cosine,
                         const float *sine, const int32_t *positions, int sign) {
    const size_t half = head_dim / 2;
    for (size_t r = 0; r < rows; r++) {
        const float *c = cosine + (size_t)positions[r] * head_dim, *s = sine + (size_t)positions[r] * head_dim;
        for (size_t h = 0; h < heads; h++) {
            float *head = x + r * ld + h * head_dim;
            if (sign < 0) {
                rotate_interleaved(head, half, c, s, 1);
            } else {
                rotate_interleaved(head, half, c, s, 0);
            }
        }
    }
}
