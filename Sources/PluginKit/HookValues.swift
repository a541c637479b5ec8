public import PluginAPI

// The types a hook can read and give, and how each passes the boundary.

/// How a signature calls a type.
public protocol SignatureType {
    static var elementName: String { get }
    static var isOptionalValue: Bool { get }
}

extension SignatureType {
    public static var isOptionalValue: Bool { false }
}

/// A type a hook can read. The ABI has these and no others; do not add conformances.
public protocol InputValue: SignatureType {
    static var inputCode: Character { get }
    init(inputSlot: craft_slot)
}

/// A type that can also be absent.
public protocol PresentInputValue: InputValue {
    static var optionalCode: Character { get }
    static func present(in slot: craft_slot) -> Self?
}

extension Double: PresentInputValue {
    public static var elementName: String { "f64" }
    public static var inputCode: Character { "d" }
    public static var optionalCode: Character { "D" }
    public init(inputSlot: craft_slot) { self = inputSlot.f64 }
    public static func present(in slot: craft_slot) -> Double? { slot.optional_f64?.pointee }
}

extension Int: PresentInputValue {
    public static var elementName: String { "i64" }
    public static var inputCode: Character { "l" }
    public static var optionalCode: Character { "L" }
    public init(inputSlot: craft_slot) { self = Int(inputSlot.i64) }
    public static func present(in slot: craft_slot) -> Int? { slot.optional_i64.map { Int($0.pointee) } }
}

extension ArrayView: PresentInputValue {
    public static var elementName: String { Element.elementName }
    public static var inputCode: Character { "A" }
    public static var optionalCode: Character { "A" }
    // The host passes NULL for optional inputs only.
    public init(inputSlot: craft_slot) { self.init(inputSlot.array) }
    public static func present(in slot: craft_slot) -> ArrayView? { slot.array.map { ArrayView($0) } }
}

extension Optional: SignatureType where Wrapped: SignatureType {
    public static var elementName: String { Wrapped.elementName }
    public static var isOptionalValue: Bool { true }
}

extension Optional: InputValue where Wrapped: PresentInputValue {
    public static var inputCode: Character { Wrapped.optionalCode }
    public init(inputSlot: craft_slot) { self = Wrapped.present(in: inputSlot) }
}

/// A type a hook can give. The ABI has these and no others; do not add conformances.
public protocol ResultValue: SignatureType {
    /// What a hook whose values have no names writes to.
    associatedtype Target
    static var resultCode: Character { get }
    static func target(in slot: craft_slot) -> Target
    /// What was written.
    static func result(in slot: craft_slot) -> Self
    static func give(_ value: Self, in slot: craft_slot)
}

/// One that may also be left out.
public protocol PresentResultValue: ResultValue {
    associatedtype OptionalTarget
    static func optionalTarget(in slot: craft_slot) -> OptionalTarget
    static func optionalResult(in slot: craft_slot) -> Self?
    static func giveOptional(_ value: Self?, in slot: craft_slot)
}

extension Optional: ResultValue where Wrapped: PresentResultValue {
    public static var resultCode: Character { Wrapped.resultCode }
    public static func target(in slot: craft_slot) -> Wrapped.OptionalTarget { Wrapped.optionalTarget(in: slot) }
    @inlinable public static func result(in slot: craft_slot) -> Wrapped? { Wrapped.optionalResult(in: slot) }
    @inlinable public static func give(_ value: Wrapped?, in slot: craft_slot) { Wrapped.giveOptional(value, in: slot) }
}

extension MutableArrayView: PresentResultValue {
    public static var elementName: String { Element.elementName }
    public static var resultCode: Character { "Z" }
    public static func target(in slot: craft_slot) -> MutableArrayView { MutableArrayView(slot.array_result) }
    public static func optionalTarget(in slot: craft_slot) -> MutableArrayView? {
        slot.array_result.map { MutableArrayView($0) }
    }
    public static func result(in slot: craft_slot) -> MutableArrayView { target(in: slot) }
    public static func optionalResult(in slot: craft_slot) -> MutableArrayView? { optionalTarget(in: slot) }
    /// Copies the elements of an array of the same shape.
    public static func give(_ value: MutableArrayView, in slot: craft_slot) {
        let target = target(in: slot)
        precondition(target.shape == value.shape, "an array of shape \(value.shape) given for \(target.shape)")
        _ = target.elements.update(fromContentsOf: value.elements)
    }
    /// nil changes nothing.
    public static func giveOptional(_ value: MutableArrayView?, in slot: craft_slot) {
        if let value { give(value, in: slot) }
    }
}

// MARK: - Numbers

/// A number that a hook gives: `Double`, `Int`, or a ``HookCode`` that stands for one.
public protocol ScalarResultValue: PresentResultValue {
    /// The value of the 8 bytes of a result.
    init(resultBits: Int64)
    var resultBits: Int64 { get }
}

extension ScalarResultValue {
    public static func target(in slot: craft_slot) -> ScalarResult<Self> { ScalarResult(bits: slot.i64_result) }
    public static func optionalTarget(in slot: craft_slot) -> OptionalScalarResult<Self> {
        OptionalScalarResult(bits: slot.i64_result)
    }
    @inlinable public static func result(in slot: craft_slot) -> Self { Self(resultBits: slot.i64_result.pointee) }
    @inlinable public static func give(_ value: Self, in slot: craft_slot) {
        slot.i64_result.pointee = value.resultBits
    }
    @inlinable public static func optionalResult(in slot: craft_slot) -> Self? {
        slot.i64_result.pointee == CRAFT_UNWRITTEN ? nil : result(in: slot)
    }
    @inlinable public static func giveOptional(_ value: Self?, in slot: craft_slot) {
        slot.i64_result.pointee = value?.resultBits ?? CRAFT_UNWRITTEN
    }
}

extension Double: ScalarResultValue {
    public static var resultCode: Character { "x" }
    @inlinable public init(resultBits: Int64) { self.init(bitPattern: UInt64(bitPattern: resultBits)) }
    @inlinable public var resultBits: Int64 { Int64(bitPattern: bitPattern) }
}

extension Int: ScalarResultValue {
    public static var resultCode: Character { "y" }
    @inlinable public init(resultBits: Int64) { self.init(resultBits) }
    @inlinable public var resultBits: Int64 { Int64(self) }
}

/// Where a hook puts a number.
public struct ScalarResult<Value: ScalarResultValue> {
    let bits: UnsafeMutablePointer<Int64>

    /// Reads what was written.
    public var value: Value {
        get { Value(resultBits: bits.pointee) }
        nonmutating set { bits.pointee = newValue.resultBits }
    }
}

/// Where a hook may put a number.
public struct OptionalScalarResult<Value: ScalarResultValue> {
    let bits: UnsafeMutablePointer<Int64>

    /// nil leaves the result out.
    public var value: Value? {
        get { bits.pointee == CRAFT_UNWRITTEN ? nil : Value(resultBits: bits.pointee) }
        nonmutating set { bits.pointee = newValue?.resultBits ?? CRAFT_UNWRITTEN }
    }
}
