internal import Foundation

/// Resampling of learned position embeddings to another grid of patches, as timm does it (`resample_abs_pos_embed`):
/// bicubic with antialiasing, half-pixel centres (Keys 1981, a = -0.5), in float32's range but computed in float64.
package struct PositionGrid {
    let from: Int
    let to: Int
    let width: Int

    /// - `stored`, `wanted`: shapes [1, side * side, width]. Nil when they are not two square grids of one width.
    package init?(_ stored: [Int], to wanted: [Int]) {
        guard stored.count == 3, wanted.count == 3, stored[0] == 1, stored[2] == wanted[2],
            let from = Self.side(stored[1]), let to = Self.side(wanted[1])
        else { return nil }
        (self.from, self.to, width) = (from, to, wanted[2])
    }

    private static func side(_ count: Int) -> Int? {
        let side = Int(Double(count).squareRoot().rounded())
        return side > 0 && side * side == count ? side : nil
    }

    /// [from * from, width] to [to * to, width].
    package func resampled(_ values: [Float]) -> [Float] {
        let taps = (0..<to).map(weights)
        var rows = [Double](repeating: 0, count: to * from * width)
        for (y, tap) in taps.enumerated() {
            for (index, weight) in tap.weights.enumerated() {
                let source = (tap.start + index) * from * width
                let target = y * from * width
                for i in 0..<from * width { rows[target + i] += weight * Double(values[source + i]) }
            }
        }
        var result = [Double](repeating: 0, count: to * to * width)
        for y in 0..<to {
            for (x, tap) in taps.enumerated() {
                for (index, weight) in tap.weights.enumerated() {
                    let source = (y * from + tap.start + index) * width
                    let target = (y * to + x) * width
                    for i in 0..<width { result[target + i] += weight * rows[source + i] }
                }
            }
        }
        return result.map(Float.init)
    }

    /// Source positions and normalised weights of one output position.
    private func weights(_ index: Int) -> (start: Int, weights: [Double]) {
        let scale = Double(from) / Double(to)
        let stretch = max(scale, 1)
        let centre = scale * (Double(index) + 0.5)
        let start = max(0, Int(centre - 2 * stretch + 0.5))
        let end = min(from, Int(centre + 2 * stretch + 0.5))
        let raw = (start..<end).map { Self.cubic((Double($0) - centre + 0.5) / stretch) }
        let sum = raw.reduce(0, +)
        return (start, raw.map { $0 / sum })
    }

    private static func cubic(_ position: Double) -> Double {
        let (x, a) = (abs(position), -0.5)
        if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
        return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0
    }
}
