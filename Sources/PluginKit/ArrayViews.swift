public import PluginAPI

/// An element type of arrays: `Float`, `Double`, `Int64`. The ABI has no others; do not add conformances.
public protocol ArrayElement {
    /// The type's name in a signature.
    static var elementName: String { get }
}

extension Float: ArrayElement {
    /// The type's name in a signature.
    public static var elementName: String { "f32" }
}

extension Double: ArrayElement {}

extension Int64: ArrayElement {
    /// The type's name in a signature.
    public static var elementName: String { "i64" }
}

/// A read-only array: compact, row-major. Valid until the hook returns.
public struct ArrayView<Element: ArrayElement> {
    /// Sizes, outermost first.
    public let shape: Shape
    /// The elements in row-major order.
    public let elements: UnsafeBufferPointer<Element>

    init(_ view: UnsafePointer<craft_array>) {
        shape = Shape(view)
        elements = UnsafeBufferPointer(
            start: view.pointee.data.map { UnsafePointer($0.assumingMemoryBound(to: Element.self)) },
            count: shape.reduce(1, *))
    }

    /// Number of elements.
    @inlinable public var count: Int { elements.count }

    /// The element at a flat, row-major position. Checked.
    @inlinable public subscript(index: Int) -> Element {
        precondition(index >= 0 && index < count, "element \(index) of an array of \(count)")
        return elements[index]
    }

    /// The element of a matrix, `weights[block, objective]`. Checked.
    @inlinable public subscript(row: Int, column: Int) -> Element { elements[shape.position(row, column)] }

    /// The element of an array with three axes, `gram[block, i, j]`. Checked.
    @inlinable public subscript(first: Int, second: Int, third: Int) -> Element {
        elements[shape.position(first, second, third)]
    }
}

/// A result array, allocated by the host. Valid until the hook returns; every element must be written, or in an optional
/// one none.
public struct MutableArrayView<Element: ArrayElement> {
    @usableFromInline let view: UnsafeMutablePointer<craft_array>
    @usableFromInline let memory: UnsafeMutableBufferPointer<Element>
    /// Sizes, outermost first.
    public let shape: Shape

    init(_ view: UnsafeMutablePointer<craft_array>) {
        self.view = view
        shape = Shape(view)
        memory = UnsafeMutableBufferPointer(
            start: view.pointee.data?.assumingMemoryBound(to: Element.self), count: shape.reduce(1, *))
    }

    /// Number of elements.
    @inlinable public var count: Int { memory.count }

    /// Where to write. Of integers, asking for it says that the array is given.
    @inlinable public var elements: UnsafeMutableBufferPointer<Element> {
        // Floating-point results are looked at instead: a store for each element would cost the loops.
        if Element.self == Int64.self { craft_mark_written(view) }
        return memory
    }

    /// The element at a flat, row-major position. Checked.
    @inlinable public subscript(index: Int) -> Element {
        get { elements[checked(index)] }
        nonmutating set { elements[checked(index)] = newValue }
    }

    /// The element of a matrix, `weights[block, objective]`. Checked.
    @inlinable public subscript(row: Int, column: Int) -> Element {
        get { elements[shape.position(row, column)] }
        nonmutating set { elements[shape.position(row, column)] = newValue }
    }

    /// The element of an array with three axes. Checked.
    @inlinable public subscript(first: Int, second: Int, third: Int) -> Element {
        get { elements[shape.position(first, second, third)] }
        nonmutating set { elements[shape.position(first, second, third)] = newValue }
    }

    @inlinable func checked(_ index: Int) -> Int {
        precondition(index >= 0 && index < count, "element \(index) of an array of \(count)")
        return index
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
        let elements = elements
        elements.update(repeating: 0)
        for (row, text) in texts.enumerated() {
            guard text.utf8.count <= shape[1] else {
                throw PluginError("a text may have \(shape[1]) bytes, this one has \(text.utf8.count): '\(text)'")
            }
            for (index, byte) in text.utf8.enumerated() { elements[row * shape[1] + index] = Int64(byte) }
        }
    }
}
