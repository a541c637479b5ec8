internal import Formats

/// A mirroring and a shift of an image that leave shapes and colours as they are.
struct ImageVariation: Equatable, Sendable {
    /// Whether left and right are exchanged.
    var mirrors: Bool
    /// Pixels by which the content moves right and down; the border's pixels fill what is uncovered.
    var x: Int
    var y: Int

    init(mirrors: Bool, x: Int, y: Int) {
        (self.mirrors, self.x, self.y) = (mirrors, x, y)
    }

    /// Mirrored every other time; shifted by up to a sixteenth of `side`, each axis on its own.
    init(drawnFrom stream: inout RandomStream, side: Int) {
        let reach = side / 16
        func shift() -> Int { Int(stream.integer(below: UInt64(2 * reach + 1))) - reach }
        mirrors = stream.integer(below: 2) == 1
        x = shift()
        y = shift()
    }

    func applied(to image: RGBImage) -> RGBImage {
        var varied = image
        for row in 0..<image.height {
            let fromRow = min(max(row - y, 0), image.height - 1)
            for column in 0..<image.width {
                let shifted = min(max(column - x, 0), image.width - 1)
                let fromColumn = mirrors ? image.width - 1 - shifted : shifted
                let (to, from) = ((row * image.width + column) * 3, (fromRow * image.width + fromColumn) * 3)
                for channel in 0..<3 { varied.pixels[to + channel] = image.pixels[from + channel] }
            }
        }
        return varied
    }
}
