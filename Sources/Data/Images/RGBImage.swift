internal import Formats
internal import ImageCodecs

#if canImport(Glibc)
    internal import Glibc
#endif

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

    /// The black image that stands for a frame that a camera did not take.
    static func black(size: Int) -> RGBImage {
        RGBImage(height: size, width: size, pixels: [UInt8](repeating: 0, count: size * size * 3))
    }

    /// Decodes a JPEG or a PNG, told apart by their first bytes, to the pixels of `tf.io.decode_image(channels: 3)`.
    ///
    /// JPEG: the fast integer transform and smooth chroma upsampling, which policies trained with TFDS saw; data that the
    /// library only warns of are decoded, a file that ends too early is an error. PNG: stored values, without gamma or
    /// blending; see `ic_png_decode`.
    ///
    /// - Parameter maximumSide: larger images are refused before memory is asked for.
    package init(decoding bytes: [UInt8], maximumSide: Int = RGBImage.maximumSide) throws(DataError) {
        self = try bytes.withUnsafeBytes { buffer in
            Result { () throws(DataError) in try Self.decoded(EncodedImage(buffer), maximumSide: maximumSide).image }
        }.get()
    }

    /// - Returns: also the first fault that the decoder passed over.
    static func decoded(
        _ encoded: EncodedImage, maximumSide: Int = RGBImage.maximumSide
    ) throws(DataError) -> (image: RGBImage, fault: String?) {
        var (header, bytes) = (encoded.header, encoded.bytes)
        let (width, height) = (Int(header.width), Int(header.height))
        guard (1...maximumSide).contains(width), (1...maximumSide).contains(height) else {
            throw DataError(
                .unsupported, "the image is \(width)x\(height); sides from 1 to \(maximumSide) are supported.")
        }
        var pixels = [UInt8](repeating: 0, count: width * height * 3)
        let start = bytes.bindMemory(to: UInt8.self).baseAddress
        var warnings = 0
        let text = CodecMessage()
        let status =
            encoded.format == .jpeg
            ? ic_jpeg_decode(start, bytes.count, &header, &pixels, &warnings, text.storage)
            : ic_png_decode(start, bytes.count, &header, &pixels, text.storage)
        guard status == 0 else {
            throw DataError(.malformed, "the \(encoded.format.rawValue) cannot be decoded: \(text.sentence).")
        }
        return (RGBImage(height: height, width: width, pixels: pixels), warnings > 0 ? text.sentence : nil)
    }

    /// JPEG bytes, 4:2:0, as `tf.io.encode_jpeg` writes them by default (quality 95).
    package func encodedJPEG(quality: Int = 95) throws(DataError) -> [UInt8] {
        var encoded: UnsafeMutablePointer<UInt8>?
        var count: UInt = 0
        let text = CodecMessage()
        guard
            ic_jpeg_encode(pixels, Int32(width), Int32(height), Int32(quality), &encoded, &count, text.storage) == 0,
            let encoded
        else { throw DataError(.unwritable, "the JPEG cannot be encoded: \(text.sentence).") }
        defer { free(encoded) }
        return Array(UnsafeBufferPointer(start: encoded, count: Int(count)))
    }
}
