/// What the solvers calculate in: `Double`, and ``DoubleDouble`` where that would lose the result in cancellation.
public protocol RealNumber: Comparable {
    init(_ value: Double)
    /// Rounded to what the type holds.
    init(_ value: DoubleDouble)
    /// Rounded.
    var double: Double { get }
    static func + (left: Self, right: Self) -> Self
    static func - (left: Self, right: Self) -> Self
    static func * (left: Self, right: Self) -> Self
    static func / (left: Self, right: Self) -> Self
    static prefix func - (value: Self) -> Self
    func squareRoot() -> Self
    /// How far a result may be off, relatively.
    static var roundOff: Double { get }
}

extension RealNumber {
    public static func += (left: inout Self, right: Self) { left = left + right }
    public static func -= (left: inout Self, right: Self) { left = left - right }
}

extension Double: RealNumber {
    public init(_ value: DoubleDouble) { self = value.high }
    public var double: Double { self }
    public static var roundOff: Double { 0x1p-53 }
}

/// An unevaluated sum of two numbers, of which the second is at most half a unit in the last place of the first: 106 bits
/// (Dekker 1971; Hida, Li and Bailey 2001).
public struct DoubleDouble: RealNumber {
    public let high: Double
    public let low: Double

    public init(_ value: DoubleDouble) { self = value }
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

    public var double: Double { high }
    public static var roundOff: Double { 0x1p-104 }

    public static func < (left: Self, right: Self) -> Bool {
        left.high < right.high || (left.high == right.high && left.low < right.low)
    }

    public static prefix func - (value: Self) -> Self { Self(unchecked: -value.high, -value.low) }

    private init(unchecked high: Double, _ low: Double) { (self.high, self.low) = (high, low) }

    public static func + (left: Self, right: Self) -> Self {
        let high = Self(sum: left.high, right.high)
        let low = Self(sum: left.low, right.low)
        let first = Self(ordered: high.high, high.low + low.high)
        return Self(ordered: first.high, first.low + low.low)
    }

    public static func - (left: Self, right: Self) -> Self { left + -right }

    public static func * (left: Self, right: Self) -> Self {
        let product = Self(product: left.high, right.high)
        return Self(ordered: product.high, product.low + (left.high * right.low + left.low * right.high))
    }

    public static func / (left: Self, right: Self) -> Self {
        let first = left.high / right.high
        var rest = left - right * Self(first)
        let second = rest.high / right.high
        rest = rest - right * Self(second)
        let quotient = Self(ordered: first, second)
        return quotient + Self(rest.high / right.high)
    }

    public func squareRoot() -> Self {
        guard high > 0 else { return Self(0) }
        let root = high.squareRoot()
        // One step of Newton's method doubles the digits.
        return Self(root) + Self((self - Self(product: root, root)).high / (2 * root))
    }
}
