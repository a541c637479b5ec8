"""Makes Tests/Fixtures/data/image-kinds.json: PNG and JPEG files of every kind, and what TensorFlow decodes from their bytes.

    python scripts/reference/image_kinds.py

Needs tensorflow-cpu and pillow. PNG: every colour type, depth, interlacing, with and without tRNS, gAMA, sRGB, cHRM, alpha, and
cut short. JPEG: grey, progressive, every chroma sampling, restart markers, stray bytes, EXIF, damaged and cut short. `pixels` is
null where TensorFlow refuses the bytes. Bytes and pixels are base64, pixels [height, width, 3].
"""
import base64
import io
import json
import pathlib
import struct
import zlib

import numpy as np
import tensorflow as tf
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "Tests/Fixtures/data/image-kinds.json"
HEIGHT, WIDTH = 11, 13
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed(rows, depth):
    """Filter byte 0 and the samples of each row, [h, w * channels]."""
    out = b""
    for row in rows:
        if depth == 16:
            body = row.astype(">u2").tobytes()
        elif depth == 8:
            body = row.astype(np.uint8).tobytes()
        else:
            bits = "".join(format(int(v), f"0{depth}b") for v in row)
            bits += "0" * (-len(bits) % 8)
            body = bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))
        out += b"\0" + body
    return out


def png(samples, kind, depth, interlaced=False, extra=()):
    """A PNG file; `samples` is [height, width, channels]."""
    height, width, channels = samples.shape
    if interlaced:
        data = b""
        for y, x, dy, dx in ADAM7:
            part = samples[y::dy, x::dx]
            if part.size:
                data += packed(part.reshape(part.shape[0], -1), depth)
    else:
        data = packed(samples.reshape(height, -1), depth)
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(interlaced))
    body = b"".join(chunk(name, value) for name, value in extra)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def png_kinds(random):
    for kind, depths in ((0, (1, 2, 4, 8, 16)), (2, (8, 16)), (3, (1, 2, 4, 8)), (4, (8, 16)), (6, (8, 16))):
        for depth in depths:
            top = min(1 << depth, 16) if kind == 3 else 1 << depth
            samples = random.integers(0, top, (HEIGHT, WIDTH, CHANNELS[kind]))
            palette = random.integers(0, 256, 3 * top).astype(np.uint8).tobytes()
            base = ((b"PLTE", palette),) if kind == 3 else ()
            name = f"png-type{kind}-{depth}bit"
            for interlaced in (False, True):
                yield name + ("-interlaced" if interlaced else ""), png(samples, kind, depth, interlaced, base)
            for gamma in (100000, 45455):
                extra = ((b"gAMA", struct.pack(">I", gamma)),) + base
                yield f"{name}-gamma{gamma}", png(samples, kind, depth, extra=extra)
            yield name + "-srgb", png(samples, kind, depth, extra=((b"sRGB", b"\0"),) + base)
            chrm = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
            yield name + "-chrm", png(samples, kind, depth, extra=((b"cHRM", chrm),) + base)
            if kind == 3:
                yield name + "-trns", png(samples, kind, depth, extra=base + ((b"tRNS", bytes(range(0, 255, 40))[:top]),))
            elif kind in (0, 2):
                key = b"".join(struct.pack(">H", int(v)) for v in samples[0, 0])
                yield name + "-trns", png(samples, kind, depth, extra=((b"tRNS", key),))
                yield name + "-background", png(samples, kind, depth, extra=((b"tRNS", key), (b"bKGD", key)))
    samples = random.integers(0, 256, (HEIGHT, WIDTH, 3))
    whole = png(samples, 2, 8)
    for name, cut in (("iend", 12), ("iend-half", 5), ("data", 60)):
        yield f"png-without-{name}", whole[:-cut]
    yield "png-trailing-bytes", whole + b"\0\1\2\3"
    damaged = bytearray(whole)
    damaged[60] ^= 0xFF
    yield "png-damaged-data", bytes(damaged)
    text = bytearray(png(samples, 2, 8, extra=((b"tEXt", b"a\0b"),)))
    text[text.index(b"tEXt") + 4] ^= 1
    yield "png-damaged-comment", bytes(text)


def jpeg(image, **options):
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    return out.getvalue()


def jpeg_kinds(random):
    coarse = random.integers(0, 256, (6, 7, 3)).astype(np.uint8)
    image = Image.fromarray(coarse).resize((WIDTH * 3, HEIGHT * 3), Image.BICUBIC)
    for sampling in ("4:4:4", "4:2:2", "4:2:0", "4:1:1", "4:4:0"):
        try:
            yield f"jpeg-{sampling}", jpeg(image, quality=90, subsampling=sampling)
        except (TypeError, ValueError):
            pass
    yield "jpeg-grey", jpeg(image.convert("L"), quality=80)
    yield "jpeg-progressive", jpeg(image, quality=85, progressive=True)
    yield "jpeg-optimised", jpeg(image, quality=30, optimize=True)
    yield "jpeg-quality-100", jpeg(image, quality=100)
    yield "jpeg-restarts", jpeg(image, quality=85, restart_marker_blocks=1)
    yield "jpeg-rgb", jpeg(image, quality=85, keep_rgb=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    yield "jpeg-exif-rotated", jpeg(image, quality=85, exif=exif)
    yield "jpeg-icc", jpeg(image, quality=85, icc_profile=b"\0" * 200)
    plain = jpeg(image, quality=85)
    for count in (1, 2, 7):
        yield f"jpeg-{count}-stray-bytes", plain[:-2] + bytes([0x5A] * count) + plain[-2:]
    scan = plain.index(b"\xff\xda")
    app = plain.index(b"\xff\xdb")
    yield "jpeg-stray-bytes-in-header", plain[:app] + b"\x11\x22" + plain[app:]
    yield "jpeg-fill-bytes", plain[:app] + b"\xff\xff" + plain[app:]
    yield "jpeg-trailing-bytes", plain + b"\0\0abc"
    yield "jpeg-without-end", plain[:-2]
    yield "jpeg-end-twice", plain + plain[-2:]
    for part in (0.3, 0.6, 0.9):
        yield f"jpeg-cut-{part}", plain[:int(scan + 14 + (len(plain) - scan - 16) * part)]
        yield f"jpeg-cut-{part}-with-end", plain[:int(scan + 14 + (len(plain) - scan - 16) * part)] + b"\xff\xd9"
    progressive = jpeg(image, quality=85, progressive=True)
    yield "jpeg-progressive-cut", progressive[:len(progressive) * 2 // 3]
    yield "jpeg-progressive-without-end", progressive[:-2]
    restarts = bytearray(jpeg(image, quality=85, restart_marker_blocks=1))
    restarts[restarts.index(b"\xff\xd1") + 1] = 0xD5
    yield "jpeg-wrong-restart", bytes(restarts)
    for seed in range(6):
        damaged = bytearray(plain)
        place = int(np.random.default_rng(seed).integers(scan + 20, len(plain) - 20))
        damaged[place] ^= 0x5A
        if damaged[place] != 0xFF:
            yield f"jpeg-damaged-{seed}", bytes(damaged)
    yield "jpeg-header-only", plain[:scan]


def filtered(samples, method):
    """8-bit RGB rows under one of PNG's filters 1 to 4."""
    rows = samples.reshape(samples.shape[0], -1).astype(int)
    left = np.pad(rows, ((0, 0), (3, 0)))[:, :-3]
    above = np.pad(rows, ((1, 0), (0, 0)))[:-1]
    corner = np.pad(above, ((0, 0), (3, 0)))[:, :-3]
    distances = np.stack([np.abs(above - corner), np.abs(left - corner), np.abs(left + above - 2 * corner)])
    paeth = np.choose(np.argmin(distances, 0), [left, above, corner])
    predicted = {1: left, 2: above, 3: (left + above) // 2, 4: paeth}[method]
    return b"".join(bytes([method]) + row.astype(np.uint8).tobytes() for row in (rows - predicted) & 255)


def more_kinds(random):
    """What encoders of cameras and labelling tools write beside the plain forms."""
    samples = random.integers(0, 256, (HEIGHT, WIDTH, 3))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0))
    start, end = b"\x89PNG\r\n\x1a\n" + header, chunk(b"IEND", b"")
    for method in (1, 2, 3, 4):
        yield f"png-filter-{method}", start + chunk(b"IDAT", zlib.compress(filtered(samples, method))) + end
    data = zlib.compress(packed(samples.reshape(HEIGHT, -1), 8))
    pieces = b"".join(chunk(b"IDAT", data[i:i + 7]) for i in range(0, len(data), 7))
    yield "png-many-pieces", start + pieces + end
    yield "png-piece-after-text", start + chunk(b"IDAT", data[:9]) + chunk(b"tEXt", b"a\0b") + chunk(b"IDAT", data[9:]) + end
    yield "png-stored", start + chunk(b"IDAT", zlib.compress(packed(samples.reshape(HEIGHT, -1), 8), 0)) + end
    yield "png-suggested-palette", png(samples, 2, 8, extra=((b"PLTE", bytes(range(48))),))
    yield "png-significant-bits", png(samples, 2, 8, extra=((b"sBIT", b"\5\6\5"),))
    yield "png-profile", png(samples, 2, 8, extra=((b"iCCP", b"a\0\0" + zlib.compress(b"\0" * 128)),))
    yield "png-time-and-density", png(samples, 2, 8, extra=((b"pHYs", b"\0\0\0\1\0\0\0\1\1"), (b"tIME", b"\7\350\1\1\0\0\0")))
    yield "png-one-pixel", png(samples[:1, :1], 2, 8)
    yield "png-one-pixel-interlaced", png(samples[:1, :1], 2, 8, True)
    yield "png-one-row", png(samples[:1], 2, 8)
    index = random.integers(0, 4, (HEIGHT, WIDTH, 1))
    palette = (b"PLTE", bytes(range(12)))
    yield "png-index-beyond-palette", png(index * 3, 3, 4, extra=(palette,))
    yield "png-palette-trns-interlaced", png(index, 3, 2, True, (palette, (b"tRNS", b"\0\x80")))
    deep = random.integers(0, 65536, (HEIGHT, WIDTH, 4))
    yield "png-type6-16bit-gamma-interlaced", png(deep, 6, 16, True, ((b"gAMA", struct.pack(">I", 45455)),))
    yield "png-type4-16bit-background", png(deep[..., :2], 4, 16, extra=((b"bKGD", b"\x80\0"),))
    yield "png-unknown-critical", png(samples, 2, 8, extra=((b"ABcD", b"x"),))
    yield "png-no-data", start + end
    yield "png-zero-width", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 4, 8, 2, 0, 0, 0)) + end
    coarse = random.integers(0, 256, (6, 7, 3)).astype(np.uint8)
    image = Image.fromarray(coarse).resize((WIDTH * 3, HEIGHT * 3), Image.BICUBIC)
    yield "jpeg-grey-progressive", jpeg(image.convert("L"), quality=80, progressive=True)
    yield "jpeg-quality-1", jpeg(image, quality=1)
    yield "jpeg-quality-100-4:2:0", jpeg(image, quality=100, subsampling="4:2:0")
    yield "jpeg-restarts-4:2:0", jpeg(image, quality=85, subsampling="4:2:0", restart_marker_rows=1)
    yield "jpeg-wide-tables", jpeg(image, qtables=[[300] * 64, [400] * 64])
    yield "jpeg-one-pixel", jpeg(image.crop((0, 0, 1, 1)), quality=90)
    yield "jpeg-odd-size", jpeg(image.crop((0, 0, 17, 9)), quality=90, subsampling="4:2:0")
    yield "jpeg-comment", jpeg(image, quality=85, comment=b"a camera")
    plain = jpeg(image, quality=85)
    yield "jpeg-without-jfif", plain[:2] + plain[plain.index(b"\xff\xdb"):]
    adobe = b"\xff\xee" + struct.pack(">H", 14) + b"Adobe" + struct.pack(">HHHB", 100, 0, 0, 0)
    yield "jpeg-adobe-says-rgb", plain[:2] + adobe + plain[plain.index(b"\xff\xdb"):]
    thumbnail = jpeg(image.resize((8, 8)), quality=50)
    yield "jpeg-with-thumbnail", plain[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail + plain[2:]
    yield "jpeg-twice", plain + thumbnail
    sized = bytearray(plain)
    frame = sized.index(b"\xff\xc0")
    sized[frame + 5:frame + 7] = struct.pack(">H", HEIGHT * 3 + 20)
    yield "jpeg-taller-than-its-data", bytes(sized)
    twelve = bytearray(plain)
    twelve[frame + 4] = 12
    yield "jpeg-12-bit", bytes(twelve)


def decoded(data):
    try:
        image = tf.io.decode_image(data, channels=3, expand_animations=False).numpy()
    except tf.errors.InvalidArgumentError:
        return None
    return image


def main():
    random = np.random.default_rng(11)
    cases = []
    for name, data in [*png_kinds(random), *jpeg_kinds(random), *more_kinds(random)]:
        image = decoded(data)
        case = {"name": name, "bytes": base64.b64encode(data).decode()}
        if image is not None:
            case |= {"height": image.shape[0], "width": image.shape[1], "pixels": base64.b64encode(image.tobytes()).decode()}
        cases.append(case)
    OUT.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
    refused = [case["name"] for case in cases if "pixels" not in case]
    print(f"{len(cases)} images, TensorFlow refuses {len(refused)}: {', '.join(refused)}")


if __name__ == "__main__":
    main()
