#include <stdio.h>

#include "video_codecs.h"

static int fail(char *message, const char *text) {
    snprintf(message, VC_MESSAGE_SIZE, "%s", text);
    return -1;
}

#if __has_include(<libavcodec/avcodec.h>) && __has_include(<libavformat/avformat.h>) && __has_include(<libswscale/swscale.h>)

#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>

/// The libraries' functions, of the versions that the headers are of.
#define FUNCTIONS(X) \
    X(format, avformat_open_input) X(format, avformat_find_stream_info) X(format, avformat_close_input) \
    X(format, av_find_best_stream) X(format, av_read_frame) X(format, av_seek_frame) \
    X(codec, avcodec_alloc_context3) X(codec, avcodec_free_context) X(codec, avcodec_parameters_to_context) \
    X(codec, avcodec_open2) X(codec, avcodec_send_packet) X(codec, avcodec_receive_frame) \
    X(codec, avcodec_flush_buffers) X(codec, av_packet_alloc) X(codec, av_packet_free) X(codec, av_packet_unref) \
    X(util, av_frame_alloc) X(util, av_frame_free) X(util, av_frame_unref) X(util, av_frame_move_ref) \
    X(util, av_strerror) X(util, av_log_set_level) \
    X(scale, sws_getCachedContext) X(scale, sws_scale) X(scale, sws_freeContext)

static struct {
#define X(library, name) __typeof__(&name) name;
    FUNCTIONS(X)
#undef X
} av;

static pthread_once_t once = PTHREAD_ONCE_INIT;
/// Why the libraries cannot be used; empty when they can.
static char refusal[VC_MESSAGE_SIZE];

static void *library(const char *name, int version) {
    char file[64];
    snprintf(file, sizeof file, "lib%s.so.%d", name, version);
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!handle && !refusal[0])
        snprintf(
            refusal, sizeof refusal,
            "videos are decoded by FFmpeg's %s, which is not installed (Debian: apt install libavformat%d libswscale%d)",
            file, LIBAVFORMAT_VERSION_MAJOR, LIBSWSCALE_VERSION_MAJOR);
    return handle;
}

static void load(void) {
    void *util = library("avutil", LIBAVUTIL_VERSION_MAJOR), *codec = library("avcodec", LIBAVCODEC_VERSION_MAJOR);
    void *format = library("avformat", LIBAVFORMAT_VERSION_MAJOR), *scale = library("swscale", LIBSWSCALE_VERSION_MAJOR);
    if (refusal[0]) return;
#define X(library, name) \
    if (!(av.name = (__typeof__(&name))dlsym(library, #name)) && !refusal[0]) \
        snprintf(refusal, sizeof refusal, "FFmpeg's library lacks %s; it is not the version craft was built with", #name);
    FUNCTIONS(X)
#undef X
    // What is wrong is said in our own sentences, not on standard error.
    if (!refusal[0]) av.av_log_set_level(AV_LOG_QUIET);
}

int vc_available(char message[VC_MESSAGE_SIZE]) {
    pthread_once(&once, load);
    return refusal[0] ? fail(message, refusal) : 0;
}

struct vc_video {
    AVFormatContext *format;
    AVCodecContext *codec;
    AVPacket *packet;
    /// The one being received, the one decoded last, and the one before it.
    AVFrame *received, *last, *before;
    /// Of the last two, the one that was asked for.
    const AVFrame *nearest;
    struct SwsContext *scaler;
    AVStream *stream;
    /// A frame's pixels as the scaler writes them.
    uint8_t *scratch;
    size_t scratch_size;
    /// All packets were read, and the decoder was told so.
    int drained;
};

static int failed(char *message, const char *what, int code) {
    char reason[AV_ERROR_MAX_STRING_SIZE] = "";
    av.av_strerror(code, reason, sizeof reason);
    snprintf(message, VC_MESSAGE_SIZE, "%s: %s", what, reason);
    return -1;
}

int vc_open(const char *path, vc_video **out, char message[VC_MESSAGE_SIZE]) {
    if (vc_available(message)) return -1;
    vc_video *video = calloc(1, sizeof *video);
    if (!video) return fail(message, "there is no memory for it");
    int code = av.avformat_open_input(&video->format, path, NULL, NULL);
    if (code < 0) {
        free(video);
        return failed(message, "it is not a video that FFmpeg opens", code);
    }
    const AVCodec *decoder = NULL;
    code = av.avformat_find_stream_info(video->format, NULL);
    if (code >= 0) code = av.av_find_best_stream(video->format, AVMEDIA_TYPE_VIDEO, -1, -1, &decoder, 0);
    if (code < 0) {
        failed(message, "it has no video stream that can be decoded", code);
        vc_close(video);
        return -1;
    }
    video->stream = video->format->streams[code];
    for (unsigned i = 0; i < video->format->nb_streams; i++)
        if ((int)i != code) video->format->streams[i]->discard = AVDISCARD_ALL;
    video->codec = av.avcodec_alloc_context3(decoder);
    video->packet = av.av_packet_alloc();
    video->received = av.av_frame_alloc();
    video->last = av.av_frame_alloc();
    video->before = av.av_frame_alloc();
    if (!video->codec || !video->packet || !video->received || !video->last || !video->before) {
        vc_close(video);
        return fail(message, "there is no memory for it");
    }
    code = av.avcodec_parameters_to_context(video->codec, video->stream->codecpar);
    // Pictures are decoded in parallel already, each by a decoder of its own.
    video->codec->thread_count = 1;
    if (code >= 0) code = av.avcodec_open2(video->codec, decoder, NULL);
    if (code < 0) {
        failed(message, "its decoder cannot be opened", code);
        vc_close(video);
        return -1;
    }
    *out = video;
    return 0;
}

void vc_close(vc_video *video) {
    if (!video) return;
    free(video->scratch);
    av.sws_freeContext(video->scaler);
    av.av_frame_free(&video->received);
    av.av_frame_free(&video->last);
    av.av_frame_free(&video->before);
    av.av_packet_free(&video->packet);
    av.avcodec_free_context(&video->codec);
    av.avformat_close_input(&video->format);
    free(video);
}

static int has_frame(const AVFrame *frame) { return frame->width > 0 && frame->height > 0; }

static double time_of(const vc_video *video, const AVFrame *frame) {
    return (double)frame->best_effort_timestamp * av_q2d(video->stream->time_base);
}

/// Decodes the next frame into `last`. Returns AVERROR_EOF behind the last one.
static int next(vc_video *video) {
    for (;;) {
        AVFrame *frame = video->received;
        av.av_frame_unref(frame);
        int code = av.avcodec_receive_frame(video->codec, frame);
        if (code == 0) {
            if (frame->best_effort_timestamp == AV_NOPTS_VALUE) continue;
            av.av_frame_unref(video->before);
            av.av_frame_move_ref(video->before, video->last);
            av.av_frame_move_ref(video->last, frame);
            return 0;
        }
        if (code != AVERROR(EAGAIN)) return code;
        code = video->drained ? AVERROR_EOF : av.av_read_frame(video->format, video->packet);
        if (code < 0) {
            if (code != AVERROR_EOF || video->drained) return code;
            video->drained = 1;
            code = av.avcodec_send_packet(video->codec, NULL);
        } else {
            if (video->packet->stream_index == video->stream->index)
                code = av.avcodec_send_packet(video->codec, video->packet);
            av.av_packet_unref(video->packet);
        }
        if (code < 0) return code;
    }
}

/// Goes to the key frame at or before a time.
static int restart(vc_video *video, double seconds) {
    int64_t target = (int64_t)floor(seconds / av_q2d(video->stream->time_base) + 0.01);
    int code = av.av_seek_frame(video->format, video->stream->index, target, AVSEEK_FLAG_BACKWARD);
    // A video whose first frame is later than its start.
    if (code < 0) code = av.av_seek_frame(video->format, video->stream->index, target, 0);
    av.avcodec_flush_buffers(video->codec);
    av.av_frame_unref(video->last);
    av.av_frame_unref(video->before);
    video->drained = 0;
    return code;
}

/// Frames this far ahead, in seconds, are reached by decoding on; others by seeking to a key frame.
static const double nearby = 0.5;

int vc_seek(
    vc_video *video, double seconds, double *found, int32_t *width, int32_t *height, char message[VC_MESSAGE_SIZE]) {
    double at = has_frame(video->last) ? time_of(video, video->last) : 0;
    double earliest = has_frame(video->before) ? time_of(video, video->before) : at;
    int is_near = has_frame(video->last) && !video->drained && seconds >= earliest && seconds - at < nearby;
    if (!is_near) {
        // A key frame is found by when it is decoded. Where frames are shown before it that are decoded after it, the one that
        // was asked for may be among them: then the search begins earlier, at last at the start.
        for (double back = 0;; back = back > 0 ? 4 * back : 1) {
            int is_start = seconds - back <= 0;
            int code = restart(video, is_start ? 0 : seconds - back);
            if (code >= 0) code = next(video);
            if (code < 0 && code != AVERROR_EOF) return failed(message, "the frame cannot be decoded", code);
            if (is_start || (has_frame(video->last) && time_of(video, video->last) < seconds + 1e-6)) break;
        }
    }
    while (!has_frame(video->last) || time_of(video, video->last) < seconds) {
        int code = next(video);
        if (code == AVERROR_EOF) break;
        if (code < 0) return failed(message, "the frame cannot be decoded", code);
    }
    if (!has_frame(video->last)) return fail(message, "there is no frame there");
    const AVFrame *nearest = video->last;
    if (has_frame(video->before) && fabs(time_of(video, video->before) - seconds) <= fabs(time_of(video, nearest) - seconds))
        nearest = video->before;
    video->nearest = nearest;
    *found = time_of(video, nearest);
    *width = nearest->width;
    *height = nearest->height;
    return 0;
}

int vc_rgb(vc_video *video, uint8_t *rgb, char message[VC_MESSAGE_SIZE]) {
    const AVFrame *frame = video->nearest;
    video->scaler = av.sws_getCachedContext(
        video->scaler, frame->width, frame->height, frame->format, frame->width, frame->height, AV_PIX_FMT_RGB24,
        SWS_BILINEAR, NULL, NULL, NULL);
    if (!video->scaler) return fail(message, "its pixels cannot be converted to RGB");
    // The scaler works on whole vectors: rows that end between two would lose their last pixels, so they are wider in its hands.
    int row = 3 * frame->width, stride = (row + 127) / 64 * 64;
    size_t size = (size_t)stride * (size_t)frame->height + 64;
    if (size > video->scratch_size) {
        free(video->scratch);
        video->scratch = aligned_alloc(64, (size + 63) / 64 * 64);
        video->scratch_size = video->scratch ? size : 0;
        if (!video->scratch) return fail(message, "there is no memory for a frame");
    }
    int rows = av.sws_scale(
        video->scaler, (const uint8_t *const *)frame->data, frame->linesize, 0, frame->height, &video->scratch, &stride);
    if (rows != frame->height) return fail(message, "its pixels cannot be converted to RGB");
    for (int y = 0; y < rows; y++) memcpy(rgb + (size_t)y * row, video->scratch + (size_t)y * stride, row);
    return 0;
}

#else

int vc_available(char message[VC_MESSAGE_SIZE]) {
    return fail(
        message,
        "craft was built without FFmpeg's headers and cannot decode videos; run scripts/install.sh and build it again");
}

int vc_open(const char *path, vc_video **video, char message[VC_MESSAGE_SIZE]) {
    (void)path, (void)video;
    return vc_available(message);
}

void vc_close(vc_video *video) { (void)video; }

int vc_seek(
    vc_video *video, double seconds, double *found, int32_t *width, int32_t *height, char message[VC_MESSAGE_SIZE]) {
    (void)video, (void)seconds, (void)found, (void)width, (void)height;
    return vc_available(message);
}

int vc_rgb(vc_video *video, uint8_t *rgb, char message[VC_MESSAGE_SIZE]) {
    (void)video, (void)rgb;
    return vc_available(message);
}

#endif
