package import Data
package import Formats

/// What is done to an image of a probe.
package enum Perturbation: String, CaseIterable {
    /// Nothing.
    case unchanged
    /// Brightness, contrast, saturation and hue are changed, in the ranges of training's augmentation.
    case jitter
    /// The same, and 4 x 4 tiles change places.
    case shuffle
    /// The same, and another image is blended in.
    case mix
}

/// How often each perturbation is used.
package struct PerturbationMixture {
    /// Shares of ``Perturbation/allCases``, in that order; their sum is 1.
    let shares: [Double]

    var changesImages: Bool { shares[0] < 1 }

    /// - Parameter shares: of ``Perturbation/allCases``, 0 or more; they count relative to their sum, and when that is 0
    ///   nothing is changed.
    package init(shares: [Double]) {
        precondition(shares.count == Perturbation.allCases.count, "a share for each perturbation")
        let sum = shares.reduce(0, +)
        self.shares = sum > 0 ? shares.map { $0 / sum } : [1, 0, 0, 0]
    }

    /// A perturbation for each of `count` samples: every share as nearly as whole samples allow (systematic sampling),
    /// in random order.
    package func draw(_ count: Int, _ generator: inout RandomGenerator) -> [Perturbation] {
        let offset = generator.uniform()
        var kinds: [Perturbation] = []
        for index in 0..<count {
            var rest = (Double(index) + offset) / Double(count)
            // Rounding may leave the last place beyond the sum of the shares.
            var chosen = Perturbation.allCases.last { shares[Self.index($0)] > 0 } ?? .unchanged
            for kind in Perturbation.allCases {
                rest -= shares[Self.index(kind)]
                if rest < 0 {
                    chosen = kind
                    break
                }
            }
            kinds.append(chosen)
        }
        return generator.shuffled(kinds)
    }

    private static func index(_ kind: Perturbation) -> Int { Perturbation.allCases.firstIndex(of: kind) ?? 0 }
}

extension Perturbation {
    /// Tiles on each side of a shuffled image.
    static let tiles = 4

    /// An image made of `image`.
    ///
    /// - Parameter other: gives the image that ``mix`` blends in.
    package func applied(to image: RGBImage, other: () -> RGBImage, _ generator: inout RandomGenerator) -> RGBImage {
        switch self {
        case .unchanged: return image
        case .jitter: return Self.jittered(image, &generator)
        case .shuffle: return Self.shuffled(Self.jittered(image, &generator), &generator)
        case .mix:
            let own = Self.jittered(image, &generator)
            let second = Self.jittered(other(), &generator)
            let share = Float(0.25 + 0.5 * generator.uniform())
            let pixels = zip(own.pixels, second.pixels).map { (own: UInt8, second: UInt8) -> UInt8 in
                let (own, second) = (Float(own), Float(second))
                return UInt8(second + share * (own - second) + 0.5)
            }
            return RGBImage(height: image.height, width: image.width, pixels: pixels)
        }
    }

    private static func jittered(_ image: RGBImage, _ generator: inout RandomGenerator) -> RGBImage {
        func draw(_ centre: Double, _ reach: Double) -> Float {
            Float(centre + reach * (2 * generator.uniform() - 1))
        }
        let change = Augmentation(
            cropX: 0, cropY: 0, brightness: draw(0, 0.2), contrast: draw(1, 0.2), saturation: draw(1, 0.2),
            hue: draw(0, 0.05))
        return change.recoloured(image)
    }

    /// Rows and columns that are left over by whole tiles stay where they are.
    private static func shuffled(_ image: RGBImage, _ generator: inout RandomGenerator) -> RGBImage {
        let (height, width) = (image.height / tiles, image.width / tiles)
        let order = generator.shuffled(Array(0..<tiles * tiles))
        var result = image
        for (target, source) in order.enumerated() {
            for row in 0..<height {
                func start(_ tile: Int) -> Int {
                    3 * ((tile / tiles * height + row) * image.width + tile % tiles * width)
                }
                result.pixels.replaceSubrange(
                    start(target)..<start(target) + 3 * width,
                    with: image.pixels[start(source)..<start(source) + 3 * width])
            }
        }
        return result
    }
}

extension RandomGenerator {
    /// The elements in random order (Fisher and Yates).
    mutating func shuffled<Element>(_ elements: [Element]) -> [Element] {
        var elements = elements
        for last in elements.indices.dropFirst().reversed() {
            elements.swapAt(last, Int(next() % UInt64(last + 1)))
        }
        return elements
    }
}
