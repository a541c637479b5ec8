/// A value of a JSON file together with the place it was found at, for messages.
package struct JSONNode {
    package let file: String
    /// The keys that lead here: "model.merges[3]"; empty for the document.
    package let place: String
    package let tree: JSONTree

    package init(contentsOf path: String, kind: String) throws(FileError) {
        let bytes = try RandomAccessFile.contents(of: path)
        do throws(JSONTree.Failure) {
            self.init(file: path, place: "", tree: try JSONTree(parsing: bytes))
        } catch {
            throw FileError(path: path, "is not JSON, as a \(kind) must be: \(error.description)")
        }
        guard case .object = tree else { throw FileError(path: path, "expected a JSON object, as a \(kind) holds") }
    }

    package init(file: String, place: String, tree: JSONTree) {
        (self.file, self.place, self.tree) = (file, place, tree)
    }

    package func failure(_ what: String) -> FileError {
        FileError(path: file, place.isEmpty ? what : "\(place): \(what)")
    }

    private func at(_ key: String, _ tree: JSONTree) -> JSONNode {
        JSONNode(file: file, place: place.isEmpty ? key : "\(place).\(key)", tree: tree)
    }

    /// Nil where the key is missing or null. A key listed twice counts as its last value.
    package func member(_ key: String) -> JSONNode? {
        guard case .object(let members) = tree, let found = members.last(where: { $0.key.elementsEqual(key.utf8) })
        else { return nil }
        if case .null = found.value { return nil }
        return at(key, found.value)
    }

    package func required(_ key: String) throws(FileError) -> JSONNode {
        guard let node = member(key) else { throw failure("has no \"\(key)\"") }
        return node
    }

    package func bytes() throws(FileError) -> [UInt8] {
        guard case .string(let text) = tree else { throw failure("expected a string") }
        return text
    }

    package func string() throws(FileError) -> String { String(decoding: try bytes(), as: UTF8.self) }

    package func scalars() throws(FileError) -> [Unicode.Scalar] { Array(try string().unicodeScalars) }

    /// A string of exactly one character.
    package func scalar() throws(FileError) -> Unicode.Scalar {
        let text = try scalars()
        guard text.count == 1 else { throw failure("expected one character, found \(text.count)") }
        return text[0]
    }

    package func bool() throws(FileError) -> Bool {
        guard case .bool(let value) = tree else { throw failure("expected true or false") }
        return value
    }

    package func flag(_ key: String, default value: Bool = false) throws(FileError) -> Bool {
        try member(key)?.bool() ?? value
    }

    /// A whole number from 0 to `maximum`.
    package func integer(atMost maximum: Int) throws(FileError) -> Int {
        guard case .number(let value) = tree else { throw failure("expected a number") }
        guard value >= 0, value <= Double(maximum), value == value.rounded() else {
            throw failure("is \(Self.text(value)), expected a whole number from 0 to \(maximum)")
        }
        return Int(value)
    }

    package static func text(_ value: Double) -> String {
        abs(value) < 1e15 && value == value.rounded() ? String(Int(value)) : String(value)
    }

    package func elements() throws(FileError) -> [JSONNode] {
        guard case .array(let items) = tree else { throw failure("expected a list") }
        return items.enumerated().map { JSONNode(file: file, place: "\(place)[\($0)]", tree: $1) }
    }

    package func members() throws(FileError) -> [(key: [UInt8], value: JSONTree)] {
        guard case .object(let members) = tree else { throw failure("expected an object") }
        return members
    }
}
