#include <stdint.h>

/* The calling thread's floating-point control state: rounding, flushing of subnormals, precision, which exceptions trap. Flags
 * of exceptions that occurred are left out: every computation sets them. */
static inline uint64_t craft_fp_control(void) {
#if defined(__x86_64__)
    uint32_t vector;
    uint16_t x87;
    __asm__ volatile("stmxcsr %0" : "=m"(vector));
    __asm__ volatile("fnstcw %0" : "=m"(x87));
    return (uint64_t)x87 << 32 | (vector & ~0x3fu);
#elif defined(__aarch64__)
    uint64_t control;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    return control;
#else
    return 0;
#endif
}

/* Puts back what craft_fp_control gave. Exceptions that are pending are forgotten: unmasking them would raise them. */
static inline void craft_fp_restore(uint64_t control) {
#if defined(__x86_64__)
    uint32_t vector = (uint32_t)control;
    uint16_t x87 = (uint16_t)(control >> 32);
    __asm__ volatile("fnclex");
    __asm__ volatile("fldcw %0" : : "m"(x87));
    __asm__ volatile("ldmxcsr %0" : : "m"(vector));
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(control));
#else
    (void)control;
#endif
}
