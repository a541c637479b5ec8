/* Flushes small numbers to zero in its constructor, as crtfastmath.o of -ffast-math does. */
#include "bad.h"
#if defined(__x86_64__)
#include <xmmintrin.h>
__attribute__((constructor)) static void fast(void) { _mm_setcsr(_mm_getcsr() | 0x8040); }
#elif defined(__aarch64__)
__attribute__((constructor)) static void fast(void) { __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)1 << 24)); }
#endif
CRAFT_HOOK(rule, RULE_IN, RULE_OUT) { pass_on(weights, combined); return CRAFT_OK; }
RULE_PLUGIN("1.0.0", NULL, NULL, NULL, NULL, NULL)
