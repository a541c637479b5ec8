internal import Tensors

/// Per-channel normalisation of 8-bit pixels: `(x / 255 - mean) / std`.
struct PixelNormalisation {
    /// The normalised value of every pixel value, [3 channels, 256]: a look-up instead of a division per pixel.
    let table: [Float]

    private init(mean: (Float, Float, Float), deviation: (Float, Float, Float)) {
        let channels = [(mean.0, deviation.0), (mean.1, deviation.1), (mean.2, deviation.2)]
        table = channels.flatMap { mean, deviation in (0..<256).map { (Float($0) / 255 - mean) / deviation } }
    }

    private static let imageNet = PixelNormalisation(
        mean: (0.484375, 0.455078125, 0.40625), deviation: (0.228515625, 0.2236328125, 0.224609375))
    private static let half = PixelNormalisation(mean: (0.5, 0.5, 0.5), deviation: (0.5, 0.5, 0.5))

    /// The values that released models carry: ImageNet's, rounded to bfloat16, for DINOv2; one half for SigLIP.
    static func of(tower kind: String) -> PixelNormalisation {
        kind.hasPrefix("dino") ? imageNet : half
    }
}

extension ModelInput.Images {
    /// Cuts images into flattened patches, channel first as a convolution's weight: [B * C * N, 3 * p * p].
    func patches(tower index: Int, of config: ModelConfig, batch: Int, cameras: Int, on tape: Tape) -> Tensor {
        let (side, p) = (config.imageSize, config.patchSize)
        let grid = side / p
        let plane = side * side
        let width = 3 * p * p
        let result = tape.constant(rows: batch * cameras * grid * grid, columns: width)
        switch self {
        case .rgb(let pixels):
            precondition(pixels.count == batch * cameras * plane * 3, "images do not match the model's size")
            let table = PixelNormalisation.of(tower: config.towers[index].kind).table
            pixels.withUnsafeBufferPointer { source in
                tape.parallel.ranges(batch * cameras, grain: 1) { images in
                    for image in images {
                        let base = image * plane * 3
                        Self.cut(grid: grid, patch: p, into: result.values + image * grid * grid * width) {
                            channel, y, x in table[channel << 8 | Int(source[base + (y * side + x) * 3 + channel])]
                        }
                    }
                }
            }
        case .normalised(let pixels):
            let towers = config.towers.count
            precondition(pixels.count == batch * cameras * towers * 3 * plane, "pixels do not match the model's size")
            pixels.withUnsafeBufferPointer { source in
                for image in 0..<batch * cameras {
                    let base = (image * towers + index) * 3 * plane
                    Self.cut(grid: grid, patch: p, into: result.values + image * grid * grid * width) {
                        channel, y, x in source[base + channel * plane + y * side + x]
                    }
                }
            }
        }
        return result
    }

    @inline(__always)
    private static func cut(
        grid: Int, patch p: Int, into target: UnsafeMutablePointer<Float>, pixel: (Int, Int, Int) -> Float
    ) {
        var index = 0
        for row in 0..<grid {
            for column in 0..<grid {
                for channel in 0..<3 {
                    for y in 0..<p {
                        for x in 0..<p {
                            target[index] = pixel(channel, row * p + y, column * p + x)
                            index += 1
                        }
                    }
                }
            }
        }
    }
}
