#include <linux/mman.h>
#include <stddef.h>

/* Variadic, and hidden without _GNU_SOURCE. */
extern void *mremap(void *from, size_t size, size_t new_size, int flags, ...);

/* Puts the mapping at `from` in the place of what is at `to`, in one step. Returns `to`, or MAP_FAILED. */
static inline void *craft_replace_mapping(void *from, size_t size, void *to) {
    return mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to);
}
