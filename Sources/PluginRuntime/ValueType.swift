/// Type of an array's elements.
package enum ElementType: String, Sendable, Codable, CaseIterable {
    case f32, f64, i64

    /// Bytes of one element.
    package var size: Int { self == .f32 ? 4 : 8 }
}

/// The type of a named value: a scalar passed by value, or an array whose axes have names or fixed sizes.
///
/// Written `f64`, `i64`, or `f32[b,t,d]`. There are no 32-bit scalars: they are where C calling conventions differ most.
package struct ValueType: Sendable, Equatable, CustomStringConvertible {
    package var element: ElementType
    /// Axis names or decimal sizes, outermost first; `nil` for a scalar.
    package var axes: [String]?

    package init(element: ElementType, axes: [String]? = nil) {
        self.element = element
        self.axes = axes
    }

    package var isArray: Bool { axes != nil }

    package var description: String {
        guard let axes else { return element.rawValue }
        return "\(element.rawValue)[\(axes.joined(separator: ","))]"
    }

    /// Whether a value of type `other` can be used where this one is declared: the same element type and the same
    /// number of axes. Axis names are local to a signature; their sizes are compared when a hook is called.
    package func accepts(_ other: ValueType) -> Bool {
        element == other.element && axes?.count == other.axes?.count
    }

    /// Reads `f64` or `f32[b,t,d]`. Throws ``SignatureError`` with the reason.
    package init(parsing text: some StringProtocol) throws(SignatureError) {
        let text = text.trimmed
        guard let open = text.firstIndex(of: "[") else {
            guard let element = ElementType(rawValue: String(text)) else {
                throw SignatureError("'\(text)' is not a type: write f64, i64, or an array such as f32[b,t,d]")
            }
            guard element != .f32 else {
                throw SignatureError("a scalar cannot be f32: scalars are f64 or i64")
            }
            self.init(element: element)
            return
        }
        guard text.hasSuffix("]") else { throw SignatureError("'\(text)' lacks its closing ']'") }
        guard let element = ElementType(rawValue: String(text[..<open].trimmed)) else {
            throw SignatureError("'\(text)': array elements are f32, f64 or i64")
        }
        let inside = text[text.index(after: open)...].dropLast()
        let axes = inside.split(separator: ",", omittingEmptySubsequences: false).map { String($0.trimmed) }
        for axis in axes {
            let isName = axis.first.map { $0.isASCIILetter } == true && axis.allSatisfy { $0.isNameCharacter }
            let isSize = !axis.isEmpty && axis.allSatisfy { $0.isASCIIDigit } && Int64(axis) != nil
            guard isName || isSize else {
                throw SignatureError("'\(text)': an axis is a name or a size, not '\(axis)'")
            }
        }
        guard axes.count <= 8 else { throw SignatureError("'\(text)' has \(axes.count) axes, at most 8 are allowed") }
        self.init(element: element, axes: axes)
    }
}

/// Why a signature or a type could not be read.
package struct SignatureError: Error, Equatable, CustomStringConvertible {
    package let description: String
    init(_ description: String) { self.description = description }
}

extension Character {
    var isASCIILetter: Bool { isASCII && isLetter }
    var isASCIIDigit: Bool { isASCII && isNumber }
    var isNameCharacter: Bool { isASCIILetter || isASCIIDigit || self == "_" || self == "-" }
}

extension StringProtocol {
    /// Without white space at either end.
    var trimmed: SubSequence {
        var slice = self[...]
        while let first = slice.first, first.isWhitespace { slice = slice.dropFirst() }
        while let last = slice.last, last.isWhitespace { slice = slice.dropLast() }
        return slice
    }
}
