// CRC-32C (Castagnoli, reflected polynomial 0x82f63b78), by the CPU's instruction where there is one.
#include "kernels.h"
#include "vector.h"

// ---- by table --------------------------------------------------------------------------------------------------

// The checksum is linear over GF(2): the entry of a byte is the sum of the entries of its bits.
#define ENTRY(b)                                                                                                       \
    (((b) & 1 ? 0xf26b8303u : 0) ^ ((b) & 2 ? 0xe13b70f7u : 0) ^ ((b) & 4 ? 0xc79a971fu : 0) ^                         \
     ((b) & 8 ? 0x8ad958cfu : 0) ^ ((b) & 16 ? 0x105ec76fu : 0) ^ ((b) & 32 ? 0x20bd8edeu : 0) ^                       \
     ((b) & 64 ? 0x417b1dbcu : 0) ^ ((b) & 128 ? 0x82f63b78u : 0))
#define ENTRIES4(b) ENTRY(b), ENTRY((b) + 1), ENTRY((b) + 2), ENTRY((b) + 3)
#define ENTRIES16(b) ENTRIES4(b), ENTRIES4((b) + 4), ENTRIES4((b) + 8), ENTRIES4((b) + 12)
#define ENTRIES64(b) ENTRIES16(b), ENTRIES16((b) + 16), ENTRIES16((b) + 32), ENTRIES16((b) + 48)

static const uint32_t table[256] = {ENTRIES64(0), ENTRIES64(64), ENTRIES64(128), ENTRIES64(192)};

uint32_t ck_crc32c_table(uint32_t crc, const void *data, size_t n) {
    const uint8_t *bytes = data;
    uint32_t state = ~crc;
    for (size_t i = 0; i < n; i++) state = table[(state ^ bytes[i]) & 0xff] ^ (state >> 8);
    return ~state;
}

// ---- by instruction --------------------------------------------------------------------------------------------

#if defined(__x86_64__)

// Bytes of each of the three interleaved streams. The instruction takes 3 cycles and one starts every cycle.
enum { stream = 4096 };

// Product of two polynomials modulo the CRC polynomial, reflected (bit 31 is x^0). Multiplying a state by x^(8 n) is
// feeding it n zero bytes.
static uint32_t multiply(uint32_t a, uint32_t b) {
    uint32_t product = 0;
    for (int bit = 0; bit < 32; bit++) {
        product ^= b & (0u - (a >> 31));
        a <<= 1;
        b = (b >> 1) ^ (0x82f63b78u & (0u - (b & 1)));
    }
    return product;
}

static uint64_t load64(const uint8_t *bytes) {
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_instruction(uint32_t crc, const uint8_t *bytes, size_t n) {
    uint64_t state = ~crc;
    for (; n >= 3 * stream; n -= 3 * stream, bytes += 3 * stream) {
        uint64_t second = 0, third = 0;
        for (size_t i = 0; i < stream; i += 8) {
            state = __builtin_ia32_crc32di(state, load64(bytes + i));
            second = __builtin_ia32_crc32di(second, load64(bytes + stream + i));
            third = __builtin_ia32_crc32di(third, load64(bytes + 2 * stream + i));
        }
        // x^(8 * 8192) and x^(8 * 4096): the first stream is followed by two others, the second by one.
        state = multiply(0x28461564u, (uint32_t)state) ^ multiply(0x35d73a62u, (uint32_t)second) ^ third;
    }
    for (; n >= 8; n -= 8, bytes += 8) state = __builtin_ia32_crc32di(state, load64(bytes));
    uint32_t low = (uint32_t)state;
    for (; n > 0; n--, bytes++) low = __builtin_ia32_crc32qi(low, *bytes);
    return ~low;
}

// The CPU's features are read by the C runtime before main, so this test is a plain load and needs no locking.
uint32_t ck_crc32c(uint32_t crc, const void *data, size_t n) {
    if (__builtin_cpu_supports("sse4.2")) return crc32c_instruction(crc, data, n);
    return ck_crc32c_table(crc, data, n);
}

#else

uint32_t ck_crc32c(uint32_t crc, const void *data, size_t n) { return ck_crc32c_table(crc, data, n); }

#endif
