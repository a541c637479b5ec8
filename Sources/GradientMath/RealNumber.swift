/// What the solvers calculate in: `Double`, and ``DoubleDouble`` where that would lose the result in cancellation.
public protocol RealNumber: Comparable {
    /// Exact.
    init(_ value: Double)
    /// Rounded to what the type holds.
    init(_ value: DoubleDouble)
    /// Rounded.
    var double: Double { get }
    /// The sum.
    static func + (left: Self, right: Self) -> Self
    /// The difference.
    static func - (left: Self, right: Self) -> Self
    /// The product.
    static func * (left: Self, right: Self) -> Self
    /// The quotient.
    static func / (left: Self, right: Self) -> Self
    /// The number with the other sign.
    static prefix func - (value: Self) -> Self
    /// The root of what is not negative.
    func squareRoot() -> Self
    /// How far a result may be off, relatively.
    static var roundOff: Double { get }
}

extension RealNumber {
    /// Adds.
    public static func += (left: inout Self, right: Self) { left = left + right }
    /// Subtracts.
    public static func -= (left: inout Self, right: Self) { left = left - right }
}

extension Double: RealNumber {
    /// Converts; exact where the type holds it.
    public init(_ value: DoubleDouble) { self = value.high }
    /// Rounded to `Double`.
    public var double: Double { self }
    /// How far a result may be off, relatively.
    public static var roundOff: Double { 0x1p-53 }
}

/// An unevaluated sum of two numbers, of which the second is at most half a unit in the last place of the first: 106 bits
/// (Dekker 1971; Hida, Li and Bailey 2001).
public struct DoubleDouble: RealNumber {
    /// The sum rounded to `Double`.
    public let high: Double
    /// What that rounding left out.
    public let low: Double

    /// Converts; exact where the type holds it.
    public init(_ value: DoubleDouble) { self = value }
    /// Converts; exact where the type holds it.
    public init(_ value: Double) { (high, low) = (value, 0) }

    /// The exact sum of two numbers of which the first is not the smaller one.
    private init(ordered x: Double, _ y: Double) {
        high = x + y
        low = y - (high - x)
    }

    /// The exact sum of any two.
    public init(sum x: Double, _ y: Double) {
        high = x + y
        let part = high - x
        low = (x - (high - part)) + (y - part)
    }

    /// The exact product.
    public init(product x: Double, _ y: Double) {
        high = x * y
        low = (-high).addingProduct(x, y)
    }

    /// Rounded to `Double`.
    public var double: Double { high }
    /// How far a result may be off, relatively.
    public static var roundOff: Double { 0x1p-104 }

    /// Whether the left number is the smaller one.
    public static func < (left: Self, right: Self) -> Bool {
        left.high < right.high || (left.high == right.high && left.low < right.low)
    }

    /// The number with the other sign; exact.
    public static prefix func - (value: Self) -> Self { Self(unchecked: -value.high, -value.low) }

    private init(unchecked high: Double, _ low: Double) { (self.high, self.low) = (high, low) }

    /// The sum, to about 104 bits.
    public static func + (left: Self, right: Self) -> Self {
        let high = Self(sum: left.high, right.high)
        let low = Self(sum: left.low, right.low)
        let first = Self(ordered: high.high, high.low + low.high)
        return Self(ordered: first.high, first.low + low.low)
    }

    /// The difference, to about 104 bits.
    public static func - (left: Self, right: Self) -> Self { left + -right }

    /// The product, to about 104 bits.
    public static func * (left: Self, right: Self) -> Self {
        let product = Self(product: left.high, right.high)
        return Self(ordered: product.high, product.low + (left.high * right.low + left.low * right.high))
    }

    /// The quotient, by long division of three digits.
    public static func / (left: Self, right: Self) -> Self {
        let first = left.high / right.high
        var rest = left - right * Self(first)
        let second = rest.high / right.high
        rest = rest - right * Self(second)
        let quotient = Self(ordered: first, second)
        return quotient + Self(rest.high / right.high)
    }

    /// The root; 0 of what is not positive.
    public func squareRoot() -> Self {
        guard high > 0 else { return Self(0) }
        let root = high.squareRoot()
        // One step of Newton's method doubles the digits.
        return Self(root) + Self((self - Self(product: root, root)).high / (2 * root))
    }
}
