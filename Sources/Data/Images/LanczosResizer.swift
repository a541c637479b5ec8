import Foundation
import Kernels
import Synchronization

/// Resizes RGB images as `tf.image.resize(method: "lanczos3", antialias: true)` followed by round and clip.
///
/// Half-pixel centres: output o samples the input at (o + 0.5) s - 0.5, s = in / out. The kernel is
/// L(x) = 3 sin(pi x) sin(pi x / 3) / (pi x)^2 for |x| <= 3, widened by max(s, 1) so that shrinking does not alias; the
/// weights of each output are normalised to sum 1 over the samples inside of the image.
package final class LanczosResizer: Sendable {
    let size: Int

    /// Input sizes whose weights are kept.
    private static let keptAxes = 16

    private struct Axis {
        /// First input sample of each output.
        var start: [Int32]
        /// [output, taps], zero padded.
        var weights: [Float]
        var taps: Int
    }
    private let axes = Mutex<[Int: Axis]>([:])

    /// - Parameter size: side of the square outputs, pixels.
    package init(size: Int) { self.size = size }

    private func axis(_ input: Int) -> Axis {
        axes.withLock { axes in
            if let axis = axes[input] { return axis }
            let axis = Self.makeAxis(input: input, output: size)
            // Images from elsewhere may come in any number of sizes.
            if axes.count >= Self.keptAxes { axes.removeAll() }
            axes[input] = axis
            return axis
        }
    }

    private static func makeAxis(input: Int, output: Int) -> Axis {
        let scale = Float(input) / Float(output)
        let stretch = max(scale, 1)
        let radius = 3 * stretch
        let taps = min(2 * Int(radius.rounded(.up)) + 1, input)
        var axis = Axis(start: [], weights: [Float](repeating: 0, count: output * taps), taps: taps)
        for o in 0..<output {
            let centre = (Float(o) + 0.5) * scale
            let first = min(max(Int((centre - radius - 0.5).rounded(.up)), 0), input - 1)
            let last = min(max(Int((centre + radius - 0.5).rounded(.down)), 0), input - 1)
            // Zero padding goes in front where the span touches the far edge, so that all taps are inside of the image.
            let start = min(first, input - taps)
            let raw = (first...last).map { kernel((Float($0) + 0.5 - centre) / stretch) }
            let sum = raw.reduce(0, +)
            for (k, weight) in raw.enumerated() {
                axis.weights[o * taps + first - start + k] = weight / sum
            }
            axis.start.append(Int32(start))
        }
        return axis
    }

    private static func kernel(_ x: Float) -> Float {
        let x = abs(x)
        if x > 3 { return 0 }
        // TensorFlow's threshold: below it the quotient loses digits.
        if x <= 1e-3 { return 1 }
        return 3 * sin(.pi * x) * sin(.pi * x / 3) / (.pi * .pi * x * x)
    }

    package func resized(_ image: RGBImage) -> RGBImage {
        if image.width == size, image.height == size { return image }
        let vertical = axis(image.height)
        let horizontal = axis(image.width)
        let row = image.width * 3
        let pixels = [UInt8](unsafeUninitializedCapacity: size * size * 3) { out, count in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: image.pixels.count + size * row + size * size * 3) {
                scratch in
                let input = scratch.baseAddress!
                let columns = input + image.pixels.count
                let result = columns + size * row
                ck_u8_to_f32(image.pixels, 1, image.pixels.count, input)
                ck_resample_vertical(
                    input, row, vertical.start, vertical.weights, vertical.taps, size, columns)
                ck_resample_horizontal(
                    columns, size, image.width, 3, horizontal.start, horizontal.weights, horizontal.taps, size, result)
                for i in 0..<out.count {
                    out[i] = UInt8(min(max(result[i].rounded(.toNearestOrEven), 0), 255))
                }
            }
            count = size * size * 3
        }
        return RGBImage(height: size, width: size, pixels: pixels)
    }
}
