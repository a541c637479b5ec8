#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "image_codecs.h"

struct reader {
    const uint8_t *bytes;
    size_t left;
    char *message;
};

static void fail(png_structp png, png_const_charp text) {
    struct reader *reader = png_get_error_ptr(png);
    snprintf(reader->message, IC_MESSAGE_SIZE, "%s", text);
    png_longjmp(png, 1);
}

/// Faults of chunks that say nothing about pixels.
static void ignore(png_structp png, png_const_charp text) {
    (void)png;
    (void)text;
}

static void take(png_structp png, png_bytep target, png_size_t count) {
    struct reader *reader = png_get_io_ptr(png);
    if (count > reader->left) png_error(png, "the file ends too early");
    memcpy(target, reader->bytes, count);
    reader->bytes += count;
    reader->left -= count;
}

static void read_header(png_structp png, png_infop info, ic_header *header) {
    png_read_info(png, info);
    header->width = (int32_t)png_get_image_width(png, info);
    header->height = (int32_t)png_get_image_height(png, info);
    header->channels = png_get_channels(png, info);
    header->depth = png_get_bit_depth(png, info);
}

int ic_png_header(const uint8_t *bytes, size_t count, ic_header *header, char message[IC_MESSAGE_SIZE]) {
    struct reader reader = {bytes, count, message};
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, fail, ignore);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info) {
        png_destroy_read_struct(&png, NULL, NULL);
        snprintf(message, IC_MESSAGE_SIZE, "there is no memory for the decoder");
        return -1;
    }
    if (setjmp(png_jmpbuf(png))) {
        png_destroy_read_struct(&png, &info, NULL);
        return -1;
    }
    png_set_read_fn(png, &reader, take);
    read_header(png, info, header);
    png_destroy_read_struct(&png, &info, NULL);
    return 0;
}

int ic_png_decode(
    const uint8_t *bytes, size_t count, const ic_header *header, uint8_t *rgb, char message[IC_MESSAGE_SIZE]) {
    struct reader reader = {bytes, count, message};
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, fail, ignore);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info) {
        png_destroy_read_struct(&png, NULL, NULL);
        snprintf(message, IC_MESSAGE_SIZE, "there is no memory for the decoder");
        return -1;
    }
    if (setjmp(png_jmpbuf(png))) {
        png_destroy_read_struct(&png, &info, NULL);
        return -1;
    }
    png_set_read_fn(png, &reader, take);
    ic_header found;
    read_header(png, info, &found);
    if (found.width != header->width || found.height != header->height) {
        png_error(png, "the image has another size than its header");
    }

    // TensorFlow's transformations and no other: stored values whatever gAMA, sRGB or iCCP say, the high byte of 16 bits,
    // alpha dropped rather than blended.
    int type = png_get_color_type(png, info);
    if (!(type & PNG_COLOR_MASK_COLOR)) {
        if (found.depth < 8) png_set_expand_gray_1_2_4_to_8(png);
        png_set_gray_to_rgb(png);
    }
    png_set_strip_alpha(png);
    if (found.depth > 8) png_set_strip_16(png);
    png_set_packing(png);
    int passes = png_set_interlace_handling(png);
    if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
    png_read_update_info(png, info);
    size_t row = (size_t)found.width * 3;
    if (png_get_rowbytes(png, info) != row) png_error(png, "its pixels cannot be turned into 8-bit RGB");
    for (int pass = 0; pass < passes; pass++) {
        for (int32_t y = 0; y < found.height; y++) png_read_row(png, rgb + (size_t)y * row, NULL);
    }
    png_read_end(png, NULL);
    png_destroy_read_struct(&png, &info, NULL);
    return 0;
}
