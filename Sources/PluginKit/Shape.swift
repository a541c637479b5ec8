import PluginAPI

/// The sizes of an array, outermost first. Valid until the hook returns.
public struct Shape: RandomAccessCollection, CustomStringConvertible {
    @usableFromInline let sizes: UnsafePointer<Int64>?
    /// Number of axes.
    public let count: Int

    init(_ view: UnsafePointer<craft_array>) {
        sizes = view.pointee.shape.map { UnsafePointer($0) }
        count = Int(view.pointee.ndim)
    }

    /// The outermost axis.
    @inlinable public var startIndex: Int { 0 }
    /// One past the innermost axis.
    @inlinable public var endIndex: Int { count }

    /// The size along an axis. Checked.
    @inlinable public subscript(axis: Int) -> Int {
        guard let sizes, axis >= 0, axis < count else {
            preconditionFailure("axis \(axis) of an array of \(count) axes")
        }
        return Int(sizes[axis])
    }

    /// The sizes in brackets, outermost first.
    public var description: String { "\(Array(self))" }

    /// Whether both have the same axes with the same sizes.
    public static func == (left: Self, right: Self) -> Bool { left.elementsEqual(right) }

    /// The flat, row-major position of one index per axis. Checked.
    @inlinable func position(_ first: Int, _ second: Int) -> Int {
        precondition(count == 2, "2 indices for an array of \(count) axes")
        let (rows, columns) = (self[0], self[1])
        precondition(
            first >= 0 && first < rows && second >= 0 && second < columns,
            "element [\(first), \(second)] of an array of shape \(self)")
        return first * columns + second
    }

    @inlinable func position(_ first: Int, _ second: Int, _ third: Int) -> Int {
        precondition(count == 3, "3 indices for an array of \(count) axes")
        let (rows, columns) = (self[1], self[2])
        precondition(
            first >= 0 && first < self[0] && second >= 0 && second < rows && third >= 0 && third < columns,
            "element [\(first), \(second), \(third)] of an array of shape \(self)")
        return (first * rows + second) * columns + third
    }
}

extension Shape: Equatable {}
