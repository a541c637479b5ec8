/// The numbers behind all random draws (Steele, Lea and Flood 2014): a counter that is mixed.
///
/// What a run draws depends on these bits: they may not change. GradientMath has the same for plugins, which are built from a
/// copy of it alone.
struct SplitMix64 {
    /// 2^64 divided by the golden ratio, what the counter goes up by.
    static let increment: UInt64 = 0x9e37_79b9_7f4a_7c15

    private var state: UInt64

    init(state: UInt64) { self.state = state }

    /// A state that is a hash of `start` and of every key in turn.
    init(start: UInt64, keys: [UInt64]) {
        state = keys.reduce(start) { Self.mixed($0 &+ Self.increment) ^ $1 }
    }

    mutating func next() -> UInt64 {
        state &+= Self.increment
        return Self.mixed(state)
    }

    static func mixed(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
