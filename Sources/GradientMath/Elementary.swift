// Foundation would come with these too, and make a plugin a thousand times larger where the runtime is linked statically.
#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// `base` to the power `exponent`; 1 for the exponent 0.
public func power(_ base: Double, _ exponent: Double) -> Double { exponent == 0 ? 1 : pow(base, exponent) }

/// `e^x`
public func exponential(_ x: Double) -> Double { exp(x) }

/// `exp(x) - 1`, exact for small `x`.
public func exponentialMinusOne(_ x: Double) -> Double { expm1(x) }

/// The natural logarithm.
public func logarithm(_ x: Double) -> Double { log(x) }

/// Of an angle in radians.
public func cosine(_ x: Double) -> Double { cos(x) }

/// Positive, sum 1, proportional to `exp(x)`.
public func softmax(_ x: [Double]) -> [Double] {
    let largest = x.max() ?? 0
    let raised = x.map { exp($0 - largest) }
    let sum = raised.reduce(0, +)
    return raised.map { $0 / sum }
}
