import CPNG
import CTurboJPEG

/// 8-bit RGB pixels, row major [height, width, 3].
package struct RGBImage: Equatable, Sendable {
    package let height: Int
    package let width: Int
    package var pixels: [UInt8]

    package init(height: Int, width: Int, pixels: [UInt8]) {
        precondition(pixels.count == height * width * 3)
        (self.height, self.width, self.pixels) = (height, width, pixels)
    }

    /// Larger images are refused before memory is asked for.
    package static let maximumSide = 16_384

    /// Decodes a JPEG or a PNG, told apart by their first bytes.
    ///
    /// - Parameter maximumSide: larger images are refused before memory is asked for.
    package init(decoding bytes: [UInt8], maximumSide: Int = RGBImage.maximumSide) throws(DataError) {
        if bytes.starts(with: [0xff, 0xd8]) {
            self = try Self.jpeg(bytes, maximumSide)
        } else if bytes.starts(with: [0x89, 0x50, 0x4e, 0x47]) {
            self = try Self.png(bytes, maximumSide)
        } else {
            let start = bytes.prefix(4).map { String($0, radix: 16) }.joined(separator: " ")
            throw DataError("is neither a JPEG nor a PNG image (\(bytes.count) bytes, starting with: \(start)).")
        }
    }

    private static func check(width: Int, height: Int, maximumSide: Int) throws(DataError) {
        guard (1...maximumSide).contains(width), (1...maximumSide).contains(height) else {
            throw DataError("the image is \(width)x\(height); sides from 1 to \(maximumSide) are supported.")
        }
    }

    /// Fast integer DCT and smooth chroma upsampling: bit for bit what TensorFlow decodes by default, so what policies
    /// trained with TFDS saw. (The accurate DCT differs by 1 or 2 in most values.)
    private static func jpeg(_ bytes: [UInt8], _ maximumSide: Int) throws(DataError) -> RGBImage {
        guard let decoder = tjInitDecompress() else { throw DataError("the JPEG decoder cannot start: out of memory.") }
        defer { tjDestroy(decoder) }
        func failure() -> DataError {
            DataError("the JPEG cannot be decoded: \(String(cString: tjGetErrorStr2(decoder))).")
        }
        var (width, height, sampling, space): (Int32, Int32, Int32, Int32) = (0, 0, 0, 0)
        guard
            tjDecompressHeader3(decoder, bytes, UInt(bytes.count), &width, &height, &sampling, &space) == 0
        else { throw failure() }
        // A file that ends before its frame header is no error to the library.
        guard width > 0, height > 0 else { throw DataError("the JPEG ends before it says how large the image is.") }
        try check(width: Int(width), height: Int(height), maximumSide: maximumSide)
        var pixels = [UInt8](repeating: 0, count: Int(width) * Int(height) * 3)
        // A truncated stream is only a warning to libjpeg, which fills the rest with grey; here it is an error.
        let flags = TJFLAG_FASTDCT | TJFLAG_STOPONWARNING
        guard
            tjDecompress2(
                decoder, bytes, UInt(bytes.count), &pixels, width, 0, height, Int32(TJPF_RGB.rawValue), flags) == 0
        else { throw failure() }
        return RGBImage(height: Int(height), width: Int(width), pixels: pixels)
    }

    /// Alpha is composited on white; other depths and palettes become 8-bit RGB.
    private static func png(_ bytes: [UInt8], _ maximumSide: Int) throws(DataError) -> RGBImage {
        var image = png_image()
        image.version = UInt32(PNG_IMAGE_VERSION)
        defer { png_image_free(&image) }
        func failure() -> DataError {
            let message = withUnsafeBytes(of: image.message) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            return DataError("the PNG cannot be decoded: \(message).")
        }
        guard png_image_begin_read_from_memory(&image, bytes, bytes.count) != 0 else { throw failure() }
        try check(width: Int(image.width), height: Int(image.height), maximumSide: maximumSide)
        image.format = UInt32(PNG_FORMAT_FLAG_COLOR | PNG_FORMAT_FLAG_ALPHA)
        let count = Int(image.width) * Int(image.height)
        var rgba = [UInt8](repeating: 0, count: count * 4)
        guard png_image_finish_read(&image, nil, &rgba, Int32(image.width) * 4, nil) != 0 else { throw failure() }
        var pixels = [UInt8](repeating: 0, count: count * 3)
        for pixel in 0..<count {
            let alpha = Int(rgba[4 * pixel + 3])
            for c in 0..<3 {
                // On the stored values, as image libraries do; libpng's own compositing works in linear light.
                pixels[3 * pixel + c] = UInt8((Int(rgba[4 * pixel + c]) * alpha + 255 * (255 - alpha) + 127) / 255)
            }
        }
        return RGBImage(height: Int(image.height), width: Int(image.width), pixels: pixels)
    }

    /// JPEG bytes, 4:2:0, as `tf.io.encode_jpeg` writes them by default (quality 95).
    package func encodedJPEG(quality: Int = 95) throws(DataError) -> [UInt8] {
        guard let encoder = tjInitCompress() else { throw DataError("the JPEG encoder cannot start: out of memory.") }
        defer { tjDestroy(encoder) }
        var encoded: UnsafeMutablePointer<UInt8>?
        var size: UInt = 0
        defer { tjFree(encoded) }
        guard
            tjCompress2(
                encoder, pixels, Int32(width), 0, Int32(height), Int32(TJPF_RGB.rawValue), &encoded, &size,
                Int32(TJSAMP_420.rawValue), Int32(quality), TJFLAG_ACCURATEDCT) == 0, let encoded
        else { throw DataError("the JPEG cannot be encoded: \(String(cString: tjGetErrorStr2(encoder))).") }
        return Array(UnsafeBufferPointer(start: encoded, count: Int(size)))
    }
}
