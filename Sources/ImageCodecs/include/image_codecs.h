/// Image files to 8-bit RGB and back, with the settings of TensorFlow's `decode_image` and `encode_jpeg`: both libraries report
/// errors by long jumps, which only C can catch.
#ifndef IMAGE_CODECS_H
#define IMAGE_CODECS_H

#include <stddef.h>
#include <stdint.h>

/// Bytes that a message takes, its end included.
#define IC_MESSAGE_SIZE 256

typedef struct {
    int32_t width;
    int32_t height;
    /// Channels as stored: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA, or the four inks of a CMYK JPEG.
    int32_t channels;
    /// Bits of a channel as stored: 1, 2, 4, 8 or 16.
    int32_t depth;
} ic_header;

/// What the image's header says. Each function returns 0, or -1 with a sentence in `message`.
int ic_jpeg_header(const uint8_t *bytes, size_t count, ic_header *header, char message[IC_MESSAGE_SIZE]);
int ic_png_header(const uint8_t *bytes, size_t count, ic_header *header, char message[IC_MESSAGE_SIZE]);

/// Pixels, [height, width, 3], of an image whose header was read; `rgb` has room for width * height * 3 values.
///
/// `warnings` receives how many faults of the data were passed over; `message` then holds the first.
int ic_jpeg_decode(
    const uint8_t *bytes, size_t count, const ic_header *header, uint8_t *rgb, long *warnings,
    char message[IC_MESSAGE_SIZE]);
int ic_png_decode(
    const uint8_t *bytes, size_t count, const ic_header *header, uint8_t *rgb, char message[IC_MESSAGE_SIZE]);

/// JPEG bytes with 4:2:0 chroma; free() releases `*encoded`.
int ic_jpeg_encode(
    const uint8_t *rgb, int32_t width, int32_t height, int quality, uint8_t **encoded, unsigned long *count,
    char message[IC_MESSAGE_SIZE]);

#endif
