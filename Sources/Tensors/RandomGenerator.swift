internal import Glibc

/// A counter-based random generator (SplitMix64; Steele et al. 2014) keyed by what it is for.
///
/// A value depends on the key alone, not on what was drawn elsewhere: noise of step 7 is the same in a run that starts
/// there and in one that came from step 0.
package struct RandomGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64
    private var spareNormal: Double?

    /// - `seed`: the run's seed. `stream`: what for, e.g. a name's hash, a step, a sample.
    package init(seed: UInt64, stream: UInt64...) {
        state = seed
        for part in stream {
            state = Self.mix(state &+ 0x9E37_79B9_7F4A_7C15) ^ part
        }
        state = Self.mix(state &+ 0x9E37_79B9_7F4A_7C15)
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        return Self.mix(state)
    }

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

    /// A stream number for a name (FNV-1a).
    package static func stream(_ name: String) -> UInt64 {
        name.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }

    private static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
