// Conversions between float32 and the two 16-bit formats, in integer arithmetic that vectorises on every CPU.
#include "kernels.h"
#include "vector.h"

// Tensors mapped from a file may start at an odd address.
typedef uint16_t unaligned_u16 __attribute__((aligned(1)));

CK_DISPATCH
void ck_bf16_to_f32(const uint16_t *x, size_t n, float *y) {
    const unaligned_u16 *in = (const unaligned_u16 *)x;
    CK_INDEPENDENT
    for (size_t i = 0; i < n; i++) y[i] = ck_float((uint32_t)in[i] << 16);
}

CK_DISPATCH
void ck_f16_to_f32(const uint16_t *x, size_t n, float *y) {
    const unaligned_u16 *in = (const unaligned_u16 *)x;
    CK_INDEPENDENT
    for (size_t i = 0; i < n; i++) {
        const uint32_t half = in[i];
        const uint32_t bits = (half & 0x7fffu) << 13;
        const uint32_t exponent = bits & 0x0f800000u;
        // Exponent 31 (infinity, NaN) becomes 255; a subnormal is the difference of two normal floats.
        const uint32_t special = bits + (224u << 23);
        const uint32_t subnormal = ck_bits(ck_float(bits + (113u << 23)) - 0x1p-14f);
        uint32_t value = bits + (112u << 23);
        value = exponent == 0x0f800000u ? special : value;
        value = exponent == 0 ? subnormal : value;
        y[i] = ck_float(value | (half & 0x8000u) << 16);
    }
}

CK_DISPATCH
void ck_f32_to_bf16(const float *x, size_t n, uint16_t *y) {
    CK_INDEPENDENT
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = ck_bits(x[i]);
        const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
        // Rounding could carry a NaN into infinity: quiet it instead, sign and payload kept.
        const uint32_t nan = (bits >> 16) | 0x40u;
        y[i] = (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
    }
}

// After F. Giesen, "float->half variants" (float_to_half_fast3_rtne).
CK_DISPATCH
void ck_f32_to_f16(const float *x, size_t n, uint16_t *y) {
    CK_INDEPENDENT
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = ck_bits(x[i]);
        const uint32_t magnitude = bits & 0x7fffffffu;
        // Rebias the exponent and round to nearest even; from 65520 on this carries into infinity by itself.
        const uint32_t normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
        // Below 2^-14 the addition of 1/2 aligns the mantissa and rounds it.
        const uint32_t subnormal = ck_bits(ck_float(magnitude) + 0.5f) - (126u << 23);
        uint32_t half = magnitude < (113u << 23) ? subnormal : normal;
        half = magnitude >= (143u << 23) ? 0x7c00u : half;
        half = magnitude > 0x7f800000u ? 0x7e00u : half;
        y[i] = (uint16_t)(half | (bits & 0x80000000u) >> 16);
    }
}
