public import PluginAPI

/// A type a hook can read. The ABI has these and no others; do not add conformances.
public protocol InputValue {
    static var elementName: String { get }
    static var inputCode: Character { get }
    static var isOptionalValue: Bool { get }
    init(inputSlot: craft_slot)
}

/// A type that can also be absent.
public protocol PresentInputValue: InputValue {
    static var optionalCode: Character { get }
    static func present(in slot: craft_slot) -> Self?
}

extension PresentInputValue {
    public static var isOptionalValue: Bool { false }
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

extension Optional: InputValue where Wrapped: PresentInputValue {
    public static var elementName: String { Wrapped.elementName }
    public static var inputCode: Character { Wrapped.optionalCode }
    public static var isOptionalValue: Bool { true }
    public init(inputSlot: craft_slot) { self = Wrapped.present(in: inputSlot) }
}

/// An element type of arrays: `Float`, `Double`, `Int64`. The ABI has no others; do not add conformances.
public protocol ArrayElement {
    static var elementName: String { get }
}

extension Float: ArrayElement { public static var elementName: String { "f32" } }
extension Double: ArrayElement {}
extension Int64: ArrayElement { public static var elementName: String { "i64" } }

/// A read-only array: compact, row-major. Valid until the hook returns.
public struct ArrayView<Element: ArrayElement> {
    /// Sizes, outermost first.
    public let shape: [Int]
    public let elements: UnsafeBufferPointer<Element>

    init(_ view: UnsafePointer<craft_array>) {
        shape = sizes(of: view)
        elements = UnsafeBufferPointer(
            start: view.pointee.data.map { UnsafePointer($0.assumingMemoryBound(to: Element.self)) },
            count: shape.reduce(1, *))
    }

    /// Number of elements.
    public var count: Int { elements.count }

    /// The element at a flat, row-major position. Checked.
    public subscript(index: Int) -> Element {
        precondition(index >= 0 && index < count, "element \(index) of an array of \(count)")
        return elements[index]
    }
}

extension ArrayView: PresentInputValue {
    public static var elementName: String { Element.elementName }
    public static var inputCode: Character { "A" }
    public static var optionalCode: Character { "A" }
    // The host passes NULL for optional inputs only.
    public init(inputSlot: craft_slot) { self.init(inputSlot.array) }
    public static func present(in slot: craft_slot) -> ArrayView? { slot.array.map { ArrayView($0) } }
}

/// A result array, allocated by the host. Valid until the hook returns; every element must be written.
public struct MutableArrayView<Element: ArrayElement> {
    /// Sizes, outermost first.
    public let shape: [Int]
    public let elements: UnsafeMutableBufferPointer<Element>

    init(_ view: UnsafeMutablePointer<craft_array>) {
        shape = sizes(of: UnsafePointer(view))
        elements = UnsafeMutableBufferPointer(
            start: view.pointee.data?.assumingMemoryBound(to: Element.self), count: shape.reduce(1, *))
    }

    /// Number of elements.
    public var count: Int { elements.count }

    /// The element at a flat, row-major position. Checked.
    public subscript(index: Int) -> Element {
        get {
            precondition(index >= 0 && index < count, "element \(index) of an array of \(count)")
            return elements[index]
        }
        nonmutating set {
            precondition(index >= 0 && index < count, "element \(index) of an array of \(count)")
            elements[index] = newValue
        }
    }

    /// Copies an array of the same number of elements.
    public func assign(_ source: ArrayView<Element>) {
        precondition(source.count == count, "\(source.count) elements copied to \(count)")
        _ = elements.update(fromContentsOf: source.elements)
    }
}

extension MutableArrayView where Element == Int64 {
    /// Puts texts into the rows of an array [rows, bytes]: their UTF-8 bytes, one an element, and zeros after them. Rows
    /// that are left over stay empty.
    public func write(_ texts: [String]) throws {
        guard shape.count == 2, texts.count <= shape[0] else {
            throw PluginError("\(texts.count) texts do not fit an array of shape \(shape)")
        }
        elements.update(repeating: 0)
        for (row, text) in texts.enumerated() {
            guard text.utf8.count <= shape[1] else {
                throw PluginError("a text may have \(shape[1]) bytes, this one has \(text.utf8.count): '\(text)'")
            }
            for (index, byte) in text.utf8.enumerated() { elements[row * shape[1] + index] = Int64(byte) }
        }
    }
}

private func sizes(of view: UnsafePointer<craft_array>) -> [Int] {
    (0..<Int(view.pointee.ndim)).map { Int(view.pointee.shape[$0]) }
}

/// Where a hook puts a scalar result.
public struct ScalarResult<Value> {
    let pointer: UnsafeMutablePointer<Value>

    public var value: Value {
        get { pointer.pointee }
        nonmutating set { pointer.pointee = newValue }
    }
}

/// A type a hook can give. The ABI has these and no others; do not add conformances.
public protocol ResultValue {
    /// What the hook's closure writes to.
    associatedtype Target
    static var elementName: String { get }
    static var resultCode: Character { get }
    static var isOptionalValue: Bool { get }
    static func target(in slot: craft_slot) -> Target
}

/// A type whose result may also be left out.
public protocol PresentResultValue: ResultValue {
    associatedtype OptionalTarget
    static func optionalTarget(in slot: craft_slot) -> OptionalTarget
}

extension Double: PresentResultValue {
    public static var resultCode: Character { "x" }
    public static func target(in slot: craft_slot) -> ScalarResult<Double> { ScalarResult(pointer: slot.f64_result) }
    public static func optionalTarget(in slot: craft_slot) -> ScalarResult<Double> { target(in: slot) }
}

extension Int: PresentResultValue {
    public static var resultCode: Character { "y" }
    public static func target(in slot: craft_slot) -> ScalarResult<Int64> { ScalarResult(pointer: slot.i64_result) }
    public static func optionalTarget(in slot: craft_slot) -> ScalarResult<Int64> { target(in: slot) }
}

extension MutableArrayView: PresentResultValue {
    public static var elementName: String { Element.elementName }
    public static var resultCode: Character { "Z" }
    public static var isOptionalValue: Bool { false }
    public static func target(in slot: craft_slot) -> MutableArrayView { MutableArrayView(slot.array_result) }
    public static func optionalTarget(in slot: craft_slot) -> MutableArrayView? {
        slot.array_result.map { MutableArrayView($0) }
    }
}

extension Optional: ResultValue where Wrapped: PresentResultValue {
    public static var elementName: String { Wrapped.elementName }
    public static var resultCode: Character { Wrapped.resultCode }
    public static var isOptionalValue: Bool { true }
    public static func target(in slot: craft_slot) -> Wrapped.OptionalTarget { Wrapped.optionalTarget(in: slot) }
}
