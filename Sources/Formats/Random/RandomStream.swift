/// A small generator whose state is a hash of explicit keys, so that a draw depends on what it is for and not on the
/// order of threads.
package struct RandomStream {
    private var bits: SplitMix64

    package init(_ keys: UInt64...) { bits = SplitMix64(start: 0, keys: keys) }

    package mutating func next() -> UInt64 { bits.next() }

    /// In [0, 1), 24 random bits.
    package mutating func uniform() -> Float { Float(next() >> 40) * 0x1p-24 }

    /// In 0 ..< bound without bias (Lemire 2019).
    package mutating func integer(below bound: UInt64) -> UInt64 {
        while true {
            let product = next().multipliedFullWidth(by: bound)
            if product.low >= (0 &- bound) % bound { return product.high }
        }
    }
}
