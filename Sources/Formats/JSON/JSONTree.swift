/// A JSON document whose strings are the UTF-8 they were written as.
///
/// Foundation's decoders put object members into a `Dictionary` of `String`, which takes canonically equivalent keys
/// ("é" and "e" with a combining accent) for one and so would lose entries of a vocabulary.
package enum JSONTree: Sendable {
    case null
    case bool(Bool)
    case number(Double)
    case string([UInt8])
    case array([JSONTree])
    case object([(key: [UInt8], value: JSONTree)])

    /// What is wrong, and where: "expected ':' at byte 17".
    package struct Failure: Error {
        package let description: String
    }

    package init(parsing bytes: [UInt8]) throws(Failure) {
        guard String(validating: bytes, as: UTF8.self) != nil else { throw Failure(description: "it is not UTF-8") }
        let result = bytes.withUnsafeBytes { bytes -> Result<JSONTree, JSONScanner.Failure> in
            do throws(JSONScanner.Failure) {
                var scanner = JSONScanner(bytes)
                let tree = try JSONTree(&scanner, depth: 0)
                try scanner.end()
                return .success(tree)
            } catch { return .failure(error) }
        }
        switch result {
        case .success(let tree): self = tree
        case .failure(let failure): throw Failure(description: failure.description)
        }
    }

    /// Deeper nesting than any configuration has; keeps hostile files from exhausting the stack.
    private static let maximumDepth = 128

    private init(_ scanner: inout JSONScanner, depth: Int) throws(JSONScanner.Failure) {
        guard depth < Self.maximumDepth else { throw scanner.failure("nested more than \(Self.maximumDepth) deep") }
        switch scanner.peek() {
        case UInt8(ascii: "{"):
            var members: [(key: [UInt8], value: JSONTree)] = []
            try scanner.object { (scanner, key) throws(JSONScanner.Failure) in
                members.append((key, try JSONTree(&scanner, depth: depth + 1)))
            }
            self = .object(members)
        case UInt8(ascii: "["):
            var elements: [JSONTree] = []
            try scanner.array { (scanner) throws(JSONScanner.Failure) in
                elements.append(try JSONTree(&scanner, depth: depth + 1))
            }
            self = .array(elements)
        case UInt8(ascii: "\""): self = .string(try scanner.string())
        case _ where scanner.skip(word: "true"): self = .bool(true)
        case _ where scanner.skip(word: "false"): self = .bool(false)
        case _ where scanner.skip(word: "null"): self = .null
        default: self = .number(try scanner.number())
        }
    }
}
