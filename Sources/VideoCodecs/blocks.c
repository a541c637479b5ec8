#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#include <zlib.h>

#include "video_codecs.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;

/// Both are part of Debian's base system; their functions here are stable, so no headers of libzstd are needed.
static struct {
    size_t (*decompress)(void *, size_t, const void *, size_t);
    unsigned (*is_error)(size_t);
    const char *(*error_name)(size_t);
} zstd;
static struct {
    int (*begin)(z_streamp, int, const char *, int);
    int (*inflate)(z_streamp, int);
    int (*end)(z_streamp);
} gzip;

static void load(void) {
    void *library = dlopen("libzstd.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library) {
        *(void **)&zstd.decompress = dlsym(library, "ZSTD_decompress");
        *(void **)&zstd.is_error = dlsym(library, "ZSTD_isError");
        *(void **)&zstd.error_name = dlsym(library, "ZSTD_getErrorName");
    }
    library = dlopen("libz.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library) {
        *(void **)&gzip.begin = dlsym(library, "inflateInit2_");
        *(void **)&gzip.inflate = dlsym(library, "inflate");
        *(void **)&gzip.end = dlsym(library, "inflateEnd");
    }
}

static int fail(char *message, const char *text) {
    snprintf(message, VC_MESSAGE_SIZE, "%s", text);
    return -1;
}

int vc_zstd(const uint8_t *bytes, size_t count, uint8_t *out, size_t size, char message[VC_MESSAGE_SIZE]) {
    pthread_once(&once, load);
    if (!zstd.decompress || !zstd.is_error || !zstd.error_name)
        return fail(message, "libzstd.so.1 is not installed (Debian: apt install libzstd1)");
    size_t done = zstd.decompress(out, size, bytes, count);
    if (zstd.is_error(done)) return fail(message, zstd.error_name(done));
    return done == size ? 0 : fail(message, "it holds fewer bytes than its header says");
}

int vc_gzip(const uint8_t *bytes, size_t count, uint8_t *out, size_t size, char message[VC_MESSAGE_SIZE]) {
    pthread_once(&once, load);
    if (!gzip.begin || !gzip.inflate || !gzip.end)
        return fail(message, "libz.so.1 is not installed (Debian: apt install zlib1g)");
    z_stream stream = {0};
    stream.next_in = (Bytef *)bytes;
    stream.avail_in = (uInt)count;
    stream.next_out = out;
    stream.avail_out = (uInt)size;
    // 32: headers of gzip and of zlib are told apart.
    if (gzip.begin(&stream, 15 + 32, ZLIB_VERSION, (int)sizeof stream) != Z_OK) return fail(message, "zlib does not start");
    int status = gzip.inflate(&stream, Z_FINISH);
    size_t left = stream.avail_out;
    gzip.end(&stream);
    if (status != Z_STREAM_END && status != Z_OK && status != Z_BUF_ERROR) return fail(message, "it is not gzip's");
    return left == 0 ? 0 : fail(message, "it holds fewer bytes than its header says");
}
