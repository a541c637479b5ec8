#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include "image_codecs.h"

struct failure {
    struct jpeg_error_mgr manager;
    jmp_buf exit;
    char *message;
};

static void fail(j_common_ptr info) {
    struct failure *failure = (struct failure *)info->err;
    char text[JMSG_LENGTH_MAX];
    info->err->format_message(info, text);
    snprintf(failure->message, IC_MESSAGE_SIZE, "%s", text);
    longjmp(failure->exit, 1);
}

/// Negative levels are warnings; the first is kept, all are counted.
static void note(j_common_ptr info, int level) {
    if (level >= 0 || info->err->num_warnings++ > 0) return;
    struct failure *failure = (struct failure *)info->err;
    char text[JMSG_LENGTH_MAX];
    info->err->format_message(info, text);
    snprintf(failure->message, IC_MESSAGE_SIZE, "%s", text);
}

static void catch_failures(struct failure *failure, char *message) {
    jpeg_std_error(&failure->manager);
    failure->manager.error_exit = fail;
    failure->manager.emit_message = note;
    failure->message = message;
    message[0] = 0;
}

/// The whole file is in memory. Where it ends too early the decoder is stopped: jpeg_mem_src would invent an end marker and
/// paint what is missing grey.
static void begin(j_decompress_ptr info) { (void)info; }

static boolean no_more(j_decompress_ptr info) {
    (void)info;
    return FALSE;
}

static void skip(j_decompress_ptr info, long count) {
    if (count <= 0) return;
    size_t step = (size_t)count < info->src->bytes_in_buffer ? (size_t)count : info->src->bytes_in_buffer;
    info->src->next_input_byte += step;
    info->src->bytes_in_buffer -= step;
}

static void end(j_decompress_ptr info) { (void)info; }

static void read_from(j_decompress_ptr info, struct jpeg_source_mgr *source, const uint8_t *bytes, size_t count) {
    source->next_input_byte = bytes;
    source->bytes_in_buffer = count;
    source->init_source = begin;
    source->fill_input_buffer = no_more;
    source->skip_input_data = skip;
    source->resync_to_restart = jpeg_resync_to_restart;
    source->term_source = end;
    info->src = source;
}

int ic_jpeg_header(const uint8_t *bytes, size_t count, ic_header *header, char message[IC_MESSAGE_SIZE]) {
    struct jpeg_decompress_struct info = {0};
    struct jpeg_source_mgr source = {0};
    struct failure failure;
    info.err = &failure.manager;
    catch_failures(&failure, message);
    if (setjmp(failure.exit)) {
        jpeg_destroy_decompress(&info);
        return -1;
    }
    jpeg_create_decompress(&info);
    read_from(&info, &source, bytes, count);
    int state = jpeg_read_header(&info, TRUE);
    header->width = (int32_t)info.image_width;
    header->height = (int32_t)info.image_height;
    header->channels = info.num_components;
    header->depth = info.data_precision;
    jpeg_destroy_decompress(&info);
    if (state != JPEG_HEADER_OK) {
        snprintf(message, IC_MESSAGE_SIZE, "the file ends inside of its header");
        return -1;
    }
    return 0;
}

int ic_jpeg_decode(
    const uint8_t *bytes, size_t count, const ic_header *header, uint8_t *rgb, long *warnings,
    char message[IC_MESSAGE_SIZE]) {
    struct jpeg_decompress_struct info = {0};
    struct jpeg_source_mgr source = {0};
    struct failure failure;
    info.err = &failure.manager;
    catch_failures(&failure, message);
    if (setjmp(failure.exit)) {
        jpeg_destroy_decompress(&info);
        return -1;
    }
    jpeg_create_decompress(&info);
    read_from(&info, &source, bytes, count);
    int is_whole = jpeg_read_header(&info, TRUE) == JPEG_HEADER_OK;
    if (is_whole && ((int32_t)info.image_width != header->width || (int32_t)info.image_height != header->height)) {
        jpeg_destroy_decompress(&info);
        snprintf(message, IC_MESSAGE_SIZE, "the image has another size than its header");
        return -1;
    }
    info.out_color_space = JCS_RGB;
    // The integer transform that TensorFlow uses by default; the accurate one differs by 1 or 2 in most values.
    info.dct_method = JDCT_IFAST;
    is_whole = is_whole && jpeg_start_decompress(&info);
    while (is_whole && info.output_scanline < info.output_height) {
        JSAMPROW row = rgb + (size_t)info.output_scanline * (size_t)header->width * 3;
        is_whole = jpeg_read_scanlines(&info, &row, 1) == 1;
    }
    unsigned rows = info.output_scanline;
    *warnings = failure.manager.num_warnings;
    jpeg_destroy_decompress(&info);
    if (!is_whole) {
        snprintf(message, IC_MESSAGE_SIZE, "the file ends in row %u of %d", rows, header->height);
        return -1;
    }
    return 0;
}

int ic_jpeg_encode(
    const uint8_t *rgb, int32_t width, int32_t height, int quality, uint8_t **encoded, unsigned long *count,
    char message[IC_MESSAGE_SIZE]) {
    struct jpeg_compress_struct info = {0};
    struct failure failure;
    info.err = &failure.manager;
    catch_failures(&failure, message);
    *encoded = NULL;
    *count = 0;
    if (setjmp(failure.exit)) {
        jpeg_destroy_compress(&info);
        free(*encoded);
        *encoded = NULL;
        return -1;
    }
    jpeg_create_compress(&info);
    jpeg_mem_dest(&info, encoded, count);
    info.image_width = (JDIMENSION)width;
    info.image_height = (JDIMENSION)height;
    info.input_components = 3;
    info.in_color_space = JCS_RGB;
    jpeg_set_defaults(&info);
    jpeg_set_quality(&info, quality, TRUE);
    info.dct_method = JDCT_ISLOW;
    jpeg_start_compress(&info, TRUE);
    while (info.next_scanline < info.image_height) {
        JSAMPROW row = (JSAMPROW)(uintptr_t)(rgb + (size_t)info.next_scanline * (size_t)width * 3);
        jpeg_write_scanlines(&info, &row, 1);
    }
    jpeg_finish_compress(&info);
    jpeg_destroy_compress(&info);
    return 0;
}
