public import PluginAPI

// The types a hook can read and give, and how each passes the boundary.

/// How a signature calls a type.
public protocol SignatureType {
    /// The type's name in a signature.
    static var elementName: String { get }
    /// Whether the value may be absent: `?` in a signature.
    static var isOptionalValue: Bool { get }
}

extension SignatureType {
    /// Whether the value may be absent: `?` in a signature.
    public static var isOptionalValue: Bool { false }
}

/// A type a hook can read. The ABI has these and no others; do not add conformances.
public protocol InputValue: SignatureType {
    /// The letter by which a call form names an input of this type.
    static var inputCode: Character { get }
    /// Reads the value of an input.
    init(inputSlot: craft_slot)
}

/// A type that can also be absent.
public protocol PresentInputValue: InputValue {
    /// The letter for an input of this type that may be absent.
    static var optionalCode: Character { get }
    /// The value in a slot; nil when it is absent.
    static func present(in slot: craft_slot) -> Self?
}

extension Double: PresentInputValue {
    /// The type's name in a signature.
    public static var elementName: String { "f64" }
    /// The letter by which a call form names an input of this type.
    public static var inputCode: Character { "d" }
    /// The letter for an input of this type that may be absent.
    public static var optionalCode: Character { "D" }
    /// Reads the value of an input.
    public init(inputSlot: craft_slot) { self = inputSlot.f64 }
    /// The value in a slot; nil when it is absent.
    public static func present(in slot: craft_slot) -> Double? { slot.optional_f64?.pointee }
}

extension Int: PresentInputValue {
    /// The type's name in a signature.
    public static var elementName: String { "i64" }
    /// The letter by which a call form names an input of this type.
    public static var inputCode: Character { "l" }
    /// The letter for an input of this type that may be absent.
    public static var optionalCode: Character { "L" }
    /// Reads the value of an input.
    public init(inputSlot: craft_slot) { self = Int(inputSlot.i64) }
    /// The value in a slot; nil when it is absent.
    public static func present(in slot: craft_slot) -> Int? { slot.optional_i64.map { Int($0.pointee) } }
}

extension ArrayView: PresentInputValue {
    /// The type's name in a signature.
    public static var elementName: String { Element.elementName }
    /// The letter by which a call form names an input of this type.
    public static var inputCode: Character { "A" }
    /// The letter for an input of this type that may be absent.
    public static var optionalCode: Character { "A" }
    // The host passes NULL for optional inputs only.
    /// Reads the value of an input.
    public init(inputSlot: craft_slot) { self.init(inputSlot.array) }
    /// The value in a slot; nil when it is absent.
    public static func present(in slot: craft_slot) -> ArrayView? { slot.array.map { ArrayView($0) } }
}

extension Optional: SignatureType where Wrapped: SignatureType {
    /// The type's name in a signature.
    public static var elementName: String { Wrapped.elementName }
    /// Whether the value may be absent: `?` in a signature.
    public static var isOptionalValue: Bool { true }
}

extension Optional: InputValue where Wrapped: PresentInputValue {
    /// The letter by which a call form names an input of this type.
    public static var inputCode: Character { Wrapped.optionalCode }
    /// Reads the value of an input.
    public init(inputSlot: craft_slot) { self = Wrapped.present(in: inputSlot) }
}

/// A type a hook can give. The ABI has these and no others; do not add conformances.
public protocol ResultValue: SignatureType {
    /// What a hook whose values have no names writes to.
    associatedtype Target
    /// The letter by which a call form names a result of this type.
    static var resultCode: Character { get }
    /// Where the result in a slot is written.
    static func target(in slot: craft_slot) -> Target
    /// What was written.
    static func result(in slot: craft_slot) -> Self
    /// Writes the result in a slot.
    static func give(_ value: Self, in slot: craft_slot)
}

/// One that may also be left out.
public protocol PresentResultValue: ResultValue {
    /// What a hook whose values have no names writes to.
    associatedtype OptionalTarget
    /// Where a result that may be left out is written.
    static func optionalTarget(in slot: craft_slot) -> OptionalTarget
    /// What was written; nil when the result was left out.
    static func optionalResult(in slot: craft_slot) -> Self?
    /// Writes the result in a slot; nil leaves it out.
    static func giveOptional(_ value: Self?, in slot: craft_slot)
}

extension Optional: ResultValue where Wrapped: PresentResultValue {
    /// The letter by which a call form names a result of this type.
    public static var resultCode: Character { Wrapped.resultCode }
    /// Where the result in a slot is written.
    public static func target(in slot: craft_slot) -> Wrapped.OptionalTarget { Wrapped.optionalTarget(in: slot) }
    /// What was written to the result in a slot.
    @inlinable public static func result(in slot: craft_slot) -> Wrapped? { Wrapped.optionalResult(in: slot) }
    /// Writes the result in a slot.
    @inlinable public static func give(_ value: Wrapped?, in slot: craft_slot) { Wrapped.giveOptional(value, in: slot) }
}

extension MutableArrayView: PresentResultValue {
    /// The type's name in a signature.
    public static var elementName: String { Element.elementName }
    /// The letter by which a call form names a result of this type.
    public static var resultCode: Character { "Z" }
    /// Where the result in a slot is written.
    public static func target(in slot: craft_slot) -> MutableArrayView { MutableArrayView(slot.array_result) }
    /// Where a result that may be left out is written.
    public static func optionalTarget(in slot: craft_slot) -> MutableArrayView? {
        slot.array_result.map { MutableArrayView($0) }
    }
    /// What was written to the result in a slot.
    public static func result(in slot: craft_slot) -> MutableArrayView { target(in: slot) }
    /// What was written to a result in a slot; nil when it was left out.
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
    /// The value as the 8 bytes of a result.
    var resultBits: Int64 { get }
}

extension ScalarResultValue {
    /// Where the result in a slot is written.
    public static func target(in slot: craft_slot) -> ScalarResult<Self> { ScalarResult(bits: slot.i64_result) }
    /// Where a result that may be left out is written.
    public static func optionalTarget(in slot: craft_slot) -> OptionalScalarResult<Self> {
        OptionalScalarResult(bits: slot.i64_result)
    }
    /// What was written to the result in a slot.
    @inlinable public static func result(in slot: craft_slot) -> Self { Self(resultBits: slot.i64_result.pointee) }
    /// Writes the result in a slot.
    @inlinable public static func give(_ value: Self, in slot: craft_slot) {
        slot.i64_result.pointee = value.resultBits
    }
    /// What was written to a result in a slot; nil when it was left out.
    @inlinable public static func optionalResult(in slot: craft_slot) -> Self? {
        slot.i64_result.pointee == CRAFT_UNWRITTEN ? nil : result(in: slot)
    }
    /// Writes the result in a slot; nil leaves it out.
    @inlinable public static func giveOptional(_ value: Self?, in slot: craft_slot) {
        slot.i64_result.pointee = value?.resultBits ?? CRAFT_UNWRITTEN
    }
}

extension Double: ScalarResultValue {
    /// The letter by which a call form names a result of this type.
    public static var resultCode: Character { "x" }
    /// Reads the 8 bytes of a result.
    @inlinable public init(resultBits: Int64) { self.init(bitPattern: UInt64(bitPattern: resultBits)) }
    /// The value as the 8 bytes of a result.
    @inlinable public var resultBits: Int64 { Int64(bitPattern: bitPattern) }
}

extension Int: ScalarResultValue {
    /// The letter by which a call form names a result of this type.
    public static var resultCode: Character { "y" }
    /// Reads the 8 bytes of a result.
    @inlinable public init(resultBits: Int64) { self.init(resultBits) }
    /// The value as the 8 bytes of a result.
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
