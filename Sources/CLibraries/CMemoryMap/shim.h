#include <linux/mman.h>
#include <link.h>
#include <stddef.h>

/* Variadic, and hidden without _GNU_SOURCE. */
extern void *mremap(void *from, size_t size, size_t new_size, int flags, ...);

/* Puts the mapping at `from` in the place of what is at `to`, in one step. Returns `to`, or MAP_FAILED. */
static inline void *craft_replace_mapping(void *from, size_t size, void *to) {
    return mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to);
}

/* Hidden without _GNU_SOURCE. */
extern int dlinfo(void *handle, int request, void *result);

/* The file of an open library; NULL when it is not known. Lifetime: as long as the library is open. */
static inline const char *craft_library_path(void *handle) {
    struct link_map *map = NULL;
    const int link_map_request = 2; /* RTLD_DI_LINKMAP */
    return dlinfo(handle, link_map_request, &map) == 0 && map ? map->l_name : NULL;
}
