/// Random numbers that belong to a place: a hash of the seed and the place, not a stream. A resumed run draws what an
/// uninterrupted one does, and blocks are independent.
public struct RandomDraws {
    private var state: UInt64

    /// - Parameters:
    ///   - seed: of the run or the instance.
    ///   - place: step, block, row, whatever tells one use from another.
    public init(seed: Int, place: [Int]) {
        state = Self.mixed(UInt64(bitPattern: Int64(seed)))
        for coordinate in place {
            state = Self.mixed(state ^ UInt64(bitPattern: Int64(coordinate)) &* 0x9e37_79b9_7f4a_7c15)
        }
    }

    /// 64 random bits.
    public mutating func next() -> UInt64 {
        state = Self.mixed(state)
        return state
    }

    /// A number of the standard normal distribution (Box and Muller).
    public mutating func normal() -> Double {
        // Above 0, at most 1.
        let radius = Double((next() >> 11) + 1) * 0x1p-53
        let angle = Double(next() >> 11) * 0x1p-53
        return (-2 * logarithm(radius)).squareRoot() * cosine(2 * .pi * angle)
    }

    /// A number for a text, the same on every machine (Fowler, Noll and Vo).
    public static func number(of text: String) -> Int {
        let hash = text.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        return Int(truncatingIfNeeded: hash)
    }

    /// Mixes 64 bits: SplitMix64 (Steele, Lea and Flood 2014).
    @inlinable public static func mixed(_ value: UInt64) -> UInt64 {
        var z = value &+ 0x9e37_79b9_7f4a_7c15
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
