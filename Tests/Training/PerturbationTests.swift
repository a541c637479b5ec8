import Data
import Formats
import Tensors
import Testing
import Training

/// What probes do to images.
@Suite struct PerturbationTests {
    private func noise(_ side: Int, seed: UInt64) -> RGBImage {
        var random = RandomGenerator(seed: seed)
        return RGBImage(
            height: side, width: side,
            pixels: (0..<side * side * 3).map { _ in UInt8(truncatingIfNeeded: random.next()) })
    }

    private func applied(_ kind: Perturbation, to image: RGBImage, other: RGBImage, seed: UInt64 = 1) -> RGBImage {
        var random = RandomGenerator(seed: seed)
        return kind.applied(to: image, other: { other }, &random)
    }

    @Test func unchangedIsUnchanged() {
        let image = noise(13, seed: 1)
        #expect(applied(.unchanged, to: image, other: noise(13, seed: 2)) == image)
    }

    @Test func everyKindChangesTheImageAndRepeats() {
        let (image, other) = (noise(13, seed: 1), noise(13, seed: 2))
        var results: [RGBImage] = []
        for kind in Perturbation.allCases.dropFirst() {
            let first = applied(kind, to: image, other: other)
            #expect(first != image && first == applied(kind, to: image, other: other))
            #expect(first != applied(kind, to: image, other: other, seed: 2))
            results.append(first)
        }
        #expect(results[0] != results[1] && results[1] != results[2])
    }

    /// 4 x 4 tiles change places, each whole: an image whose tiles have one colour each keeps these colours, and what is
    /// left over at the edges stays.
    @Test func tilesStayWhole() {
        let (side, tile) = (14, 3)
        let image = RGBImage(
            height: side, width: side,
            pixels: (0..<side * side).flatMap { pixel -> [UInt8] in
                let (row, column) = (pixel / side / tile, pixel % side / tile)
                let grey = UInt8(row > 3 || column > 3 ? 0 : 60 + 8 * (4 * row + column))
                return [grey, grey, grey]
            })
        let jittered = applied(.jitter, to: image, other: image)
        let shuffled = applied(.shuffle, to: image, other: image)
        func greys(_ image: RGBImage) -> [UInt8] {
            stride(from: 0, to: image.pixels.count, by: 3).map { image.pixels[$0] }
        }
        func tiles(_ image: RGBImage) -> [[UInt8]] {
            (0..<16).map { number in
                (0..<tile * tile).map { pixel in
                    greys(image)[(number / 4 * tile + pixel / tile) * side + number % 4 * tile + pixel % tile]
                }
            }
        }
        #expect(tiles(shuffled) != tiles(jittered))
        // The same draws jitter both, so the tiles are the same ones.
        #expect(Set(tiles(shuffled)) == Set(tiles(jittered)))
        #expect(tiles(shuffled).allSatisfy { Set($0).count == 1 })
        #expect(greys(shuffled).suffix(2 * side) == greys(jittered).suffix(2 * side))
    }

    /// A mixture of black and white is grey, between a quarter and three quarters when colours are kept within a fifth.
    @Test func mixturesHaveSomethingOfBoth() {
        let (black, white) = ([UInt8](repeating: 0, count: 48), [UInt8](repeating: 255, count: 48))
        for seed in 0..<20 as Range<UInt64> {
            let mixed = applied(
                .mix, to: RGBImage(height: 4, width: 4, pixels: black),
                other: RGBImage(height: 4, width: 4, pixels: white),
                seed: seed)
            #expect(mixed.pixels.allSatisfy { (40...215).contains($0) }, "\(mixed.pixels[0])")
        }
    }

    /// Samples as nearly in the given shares as whole samples allow, and in every place.
    @Test func sharesAreKept() {
        let quarters = PerturbationMixture(shares: [1, 1, 1, 1])
        var random = RandomGenerator(seed: 5)
        var firsts: Set<String> = []
        for _ in 0..<50 {
            let kinds = quarters.draw(8, &random)
            for kind in Perturbation.allCases { #expect(kinds.filter { $0 == kind }.count == 2) }
            firsts.insert(kinds[0].rawValue)
        }
        #expect(firsts.count == 4)

        let uneven = PerturbationMixture(shares: [0, 3, 1, 0])
        var counts: [Perturbation: Int] = [:]
        for _ in 0..<400 { for kind in uneven.draw(2, &random) { counts[kind, default: 0] += 1 } }
        #expect(Set(counts.keys) == [.jitter, .shuffle])
        #expect(abs(Double(counts[.shuffle] ?? 0) / 800 - 0.25) < 0.03)
        #expect(PerturbationMixture(shares: [0, 0, 0, 0]).draw(3, &random).allSatisfy { $0 == .unchanged })
    }
}
