internal import Glibc

/// A counter-based random generator keyed by what it is for.
///
/// A value depends on the key alone, not on what was drawn elsewhere: noise of step 7 is the same in a run that starts
/// there and in one that came from step 0.
package struct RandomGenerator: RandomNumberGenerator, Sendable {
    private var bits: SplitMix64
    private var spareNormal: Double?

    /// - `seed`: the run's seed. `stream`: what for, e.g. a name's hash, a step, a sample.
    package init(seed: UInt64, stream: UInt64...) {
        var keyed = SplitMix64(start: seed, keys: stream)
        bits = SplitMix64(state: keyed.next())
    }

    package mutating func next() -> UInt64 { bits.next() }

    /// Uniform on [0, 1).
    package mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

    /// Standard normal (Box & Muller 1958).
    package mutating func normal() -> Double {
        if let spare = spareNormal {
            spareNormal = nil
            return spare
        }
        let radius = (-2 * log(1 - uniform())).squareRoot()
        let angle = 2 * Double.pi * uniform()
        spareNormal = radius * sin(angle)
        return radius * cos(angle)
    }

    /// A stream number for a name.
    package static func stream(_ name: String) -> UInt64 { FNV1a.hash(name) }
}
