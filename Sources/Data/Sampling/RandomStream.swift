/// A small generator whose state is a hash of explicit keys, so that a draw depends on what it is for and not on the
/// order of threads. SplitMix64 (Steele, Lea, Flood 2014).
struct RandomStream {
    private var state: UInt64

    init(_ keys: UInt64...) {
        state = 0
        for key in keys { state = Self.mix(state &+ 0x9e37_79b9_7f4a_7c15) ^ key }
    }

    private static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        return Self.mix(state)
    }

    /// In [0, 1), 24 random bits.
    mutating func uniform() -> Float { Float(next() >> 40) * 0x1p-24 }

    /// In 0 ..< bound without bias (Lemire 2019).
    mutating func integer(below bound: UInt64) -> UInt64 {
        while true {
            let product = next().multipliedFullWidth(by: bound)
            if product.low >= (0 &- bound) % bound { return product.high }
        }
    }
}
