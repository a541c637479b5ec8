internal import Formats

/// Turns camera images of a running robot or simulator into what the policy was trained on.
///
/// The LIBERO evaluator's path: rotate by 180 degrees (LIBERO's data are stored so), a JPEG round trip (the data were
/// compressed), Lanczos resize, and the centre crop when training used random crops.
package struct ObservationPreprocessor: Sendable {
    package var rotated: Bool
    package var compressed: Bool
    package var centreCropped: Bool
    private let resizer: LanczosResizer

    /// - Parameters:
    ///   - imageSize: side of the square result, pixels; the training's.
    ///   - rotated: whether to rotate by 180 degrees first.
    ///   - compressed: whether to encode as JPEG (quality 95) and decode.
    ///   - centreCropped: whether training augmented its images.
    package init(imageSize: Int, rotated: Bool = true, compressed: Bool = true, centreCropped: Bool) throws(DataError) {
        guard (1...4_096).contains(imageSize) else {
            throw DataError(.invalid, "Image preprocessing: imageSize is \(imageSize), expected 1 to 4096.")
        }
        resizer = LanczosResizer(size: imageSize)
        (self.rotated, self.compressed, self.centreCropped) = (rotated, compressed, centreCropped)
    }

    /// - Parameter pixels: [height, width, 3] RGB.
    /// - Returns: [imageSize, imageSize, 3].
    package func prepared(_ pixels: [UInt8], height: Int, width: Int) throws(DataError) -> [UInt8] {
        guard (1...16_384).contains(height), (1...16_384).contains(width), pixels.count == height * width * 3 else {
            throw DataError(
                .invalid,
                "Image preprocessing: got \(pixels.count) bytes for a \(width)x\(height) image; expected width x height "
                    + "x 3, with sides of at most 16384.")
        }
        var image = RGBImage(height: height, width: width, pixels: pixels)
        if rotated { image = image.rotatedByHalfTurn() }
        if compressed { image = try RGBImage(decoding: image.encodedJPEG()) }
        image = resizer.resized(image)
        return (centreCropped ? image.centreCropped() : image).pixels
    }

    /// Decodes a JPEG or PNG file's bytes, then as above.
    ///
    /// - Parameter maximumSide: larger images are refused before memory is asked for.
    package func prepared(encoded bytes: [UInt8], maximumSide: Int = 16_384) throws(DataError) -> [UInt8] {
        let image = try RGBImage(decoding: bytes, maximumSide: maximumSide)
        return try prepared(image.pixels, height: image.height, width: image.width)
    }
}

extension RGBImage {
    func rotatedByHalfTurn() -> RGBImage {
        let pixelCount = height * width
        let rotated = [UInt8](unsafeUninitializedCapacity: pixels.count) { out, count in
            for pixel in 0..<pixelCount {
                for c in 0..<3 { out[3 * pixel + c] = pixels[3 * (pixelCount - 1 - pixel) + c] }
            }
            count = pixels.count
        }
        return RGBImage(height: height, width: width, pixels: rotated)
    }
}
