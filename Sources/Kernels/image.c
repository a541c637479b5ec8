// Separable image resampling on float pixels, and bytes to floats.
#include "kernels.h"
#include "vector.h"

// Weight tables are padded to a common number of taps; padding must not read past the line.
CK_INLINE size_t taps_inside(size_t first, size_t taps, size_t width) {
    const size_t room = first < width ? width - first : 0;
    return taps < room ? taps : room;
}

// Four floats at any address: three channels and the next pixel's first. Part of the baseline of every 64-bit CPU.
typedef float float4 __attribute__((vector_size(16), aligned(4)));

// One line of RGB. Reads one float past the line.
CK_INLINE void horizontal_rgb(const float *in, size_t width_in, const int32_t *start, const float *weights, size_t taps,
                              size_t width_out, float *out) {
    for (size_t o = 0; o < width_out; o++) {
        const size_t first = (size_t)start[o];
        const size_t count = taps_inside(first, taps, width_in);
        const float *pixel = in + first * 3;
        const float *weight = weights + o * taps;
        float4 s = {0, 0, 0, 0};
        for (size_t k = 0; k < count; k++) s += weight[k] * *(const float4 *)(pixel + k * 3);
        out[o * 3] = s[0];
        out[o * 3 + 1] = s[1];
        out[o * 3 + 2] = s[2];
    }
}

// `channels` is a constant where it matters (1, 3, 4), so the sums live in registers.
CK_INLINE void horizontal(const float *in, size_t lines, size_t width_in, size_t channels, const int32_t *start,
                          const float *weights, size_t taps, size_t width_out, float *out) {
    for (size_t line = 0; line < lines; line++) {
        for (size_t o = 0; o < width_out; o++) {
            const size_t first = (size_t)start[o];
            const size_t count = taps_inside(first, taps, width_in);
            const float *pixel = in + first * channels;
            const float *weight = weights + o * taps;
            for (size_t c = 0; c < channels; c++) {
                float s = 0;
                for (size_t k = 0; k < count; k++) s += weight[k] * pixel[k * channels + c];
                out[o * channels + c] = s;
            }
        }
        in += width_in * channels;
        out += width_out * channels;
    }
}

CK_DISPATCH
void ck_resample_horizontal(const float *in, size_t lines, size_t width_in, size_t channels, const int32_t *start,
                            const float *weights, size_t taps, size_t width_out, float *out) {
    switch (channels) {
    case 1: horizontal(in, lines, width_in, 1, start, weights, taps, width_out, out); break;
    case 3:
        // All but the last line, whose end may be the end of the buffer.
        for (; lines > 1; lines--, in += width_in * 3, out += width_out * 3) {
            horizontal_rgb(in, width_in, start, weights, taps, width_out, out);
        }
        horizontal(in, lines, width_in, 3, start, weights, taps, width_out, out);
        break;
    case 4: horizontal(in, lines, width_in, 4, start, weights, taps, width_out, out); break;
    default: horizontal(in, lines, width_in, channels, start, weights, taps, width_out, out); break;
    }
}

CK_DISPATCH
void ck_resample_vertical(const float *in, size_t row_length, const int32_t *start, const float *weights, size_t taps,
                          size_t height_out, float *out) {
    for (size_t o = 0; o < height_out; o++) {
        const float *first = in + (size_t)start[o] * row_length;
        float *y = out + o * row_length;
        for (size_t j = 0; j < row_length; j++) y[j] = 0;
        for (size_t k = 0; k < taps; k++) {
            // Padding of the weight table: the row it points to may not exist.
            const float w = weights[o * taps + k];
            if (w == 0) continue;
            const float *row = first + k * row_length;
            CK_INDEPENDENT
            for (size_t j = 0; j < row_length; j++) y[j] += w * row[j];
        }
    }
}

CK_DISPATCH
void ck_u8_to_f32(const uint8_t *x, float scale, size_t n, float *y) {
    CK_INDEPENDENT
    for (size_t i = 0; i < n; i++) y[i] = scale * (float)x[i];
}
