/// Frames of video files as 8-bit RGB, and zstd and gzip blocks: with FFmpeg's libraries, libzstd and zlib, which are opened when
/// something asks for them. A program that reads no such file starts without them.
#ifndef VIDEO_CODECS_H
#define VIDEO_CODECS_H

#include <stddef.h>
#include <stdint.h>

/// Bytes that a message takes, its end included.
#define VC_MESSAGE_SIZE 256

/// An open video; used by one thread at a time.
typedef struct vc_video vc_video;

/// Each function returns 0, or -1 with a sentence in `message`.

/// Whether videos can be decoded at all: FFmpeg's headers were there when craft was built, and its libraries are now.
int vc_available(char message[VC_MESSAGE_SIZE]);

/// Opens the best video stream of a file; vc_close() releases `*video`.
int vc_open(const char *path, vc_video **video, char message[VC_MESSAGE_SIZE]);
void vc_close(vc_video *video);

/// Finds the frame whose time is nearest to `seconds`; its time and size are returned, and vc_rgb() gives its pixels.
int vc_seek(
    vc_video *video, double seconds, double *found, int32_t *width, int32_t *height, char message[VC_MESSAGE_SIZE]);

/// Pixels of the frame that vc_seek() found: [height, width, 3], as FFmpeg's scaler converts them by default.
int vc_rgb(vc_video *video, uint8_t *rgb, char message[VC_MESSAGE_SIZE]);

/// Decompresses one block into exactly `size` bytes.
int vc_zstd(const uint8_t *bytes, size_t count, uint8_t *out, size_t size, char message[VC_MESSAGE_SIZE]);
int vc_gzip(const uint8_t *bytes, size_t count, uint8_t *out, size_t size, char message[VC_MESSAGE_SIZE]);

#endif
