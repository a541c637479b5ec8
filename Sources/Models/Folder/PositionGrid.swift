internal import Foundation

/// Resampling of learned position embeddings to another grid of patches: bicubic with half-pixel centres (Keys 1981).
package struct PositionGrid {
    /// The two ways in use, which differ enough to matter.
    package enum Method {
        /// timm's `resample_abs_pos_embed`: antialiased, a = -0.5.
        case timm
        /// transformers' `interpolate_pos_encoding`: four taps whatever the scale, a = -0.75, borders repeated.
        case transformers
    }

    let from: Int
    let to: Int
    let width: Int
    /// Rows before the grid, of prefix tokens, which are kept as they are: 0 or 1.
    let prefix: Int

    /// - `stored`, `wanted`: shapes [1, side * side, width], or with a row more in front. Nil when they are not two square
    ///   grids of one width.
    package init?(_ stored: [Int], to wanted: [Int]) {
        guard stored.count == 3, wanted.count == 3, stored[0] == 1, stored[2] == wanted[2] else { return nil }
        for prefix in 0...1 {
            // No square is one more than another, so the number of rows tells the two apart.
            guard let from = Self.side(stored[1] - prefix), let to = Self.side(wanted[1] - prefix) else { continue }
            (self.from, self.to, width, self.prefix) = (from, to, wanted[2], prefix)
            return
        }
        return nil
    }

    private static func side(_ count: Int) -> Int? {
        guard count > 0 else { return nil }
        let side = Int(Double(count).squareRoot().rounded())
        return side > 0 && side * side == count ? side : nil
    }

    /// [prefix + from * from, width] to [prefix + to * to, width].
    package func resampled(_ stored: [Float], as method: Method = .timm) -> [Float] {
        let taps = (0..<to).map { method == .timm ? antialiased($0) : fourTaps($0) }
        var rows = [Double](repeating: 0, count: to * from * width)
        for (y, tap) in taps.enumerated() {
            for (index, weight) in tap.weights.enumerated() {
                let source = (prefix + (tap.start + index) * from) * width
                let target = y * from * width
                for i in 0..<from * width { rows[target + i] += weight * Double(stored[source + i]) }
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
        return stored.prefix(prefix * width) + result.map(Float.init)
    }

    /// First source position and normalised weights of one output position.
    private func antialiased(_ index: Int) -> (start: Int, weights: [Double]) {
        let scale = Double(from) / Double(to)
        let stretch = max(scale, 1)
        let centre = scale * (Double(index) + 0.5)
        let start = max(0, Int(centre - 2 * stretch + 0.5))
        let end = min(from, Int(centre + 2 * stretch + 0.5))
        let raw = (start..<end).map { Self.cubic((Double($0) - centre + 0.5) / stretch, a: -0.5) }
        let sum = raw.reduce(0, +)
        return (start, raw.map { $0 / sum })
    }

    private func fourTaps(_ index: Int) -> (start: Int, weights: [Double]) {
        let centre = Double(from) / Double(to) * (Double(index) + 0.5) - 0.5
        let base = Int(centre.rounded(.down))
        let start = max(0, min(from - 1, base - 1))
        let end = max(0, min(from - 1, base + 2))
        var weights = [Double](repeating: 0, count: end - start + 1)
        for tap in base - 1...base + 2 {
            weights[max(0, min(from - 1, tap)) - start] += Self.cubic(Double(tap) - centre, a: -0.75)
        }
        return (start, weights)
    }

    private static func cubic(_ position: Double, a: Double) -> Double {
        let x = abs(position)
        if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
        return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0
    }
}
