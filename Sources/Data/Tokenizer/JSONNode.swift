/// A value of a JSON file together with the place it was found at, for messages.
struct JSONNode {
    let file: String
    /// The keys that lead here: "model.merges[3]"; empty for the document.
    let place: String
    let tree: JSONTree

    init(contentsOf path: String, kind: String) throws(DataError) {
        let bytes = try RandomAccessFile.contents(of: path)
        do throws(JSONTree.Failure) {
            self.init(file: path, place: "", tree: try JSONTree(parsing: bytes))
        } catch {
            throw DataError("\(path): is not JSON, as a \(kind) must be: \(error.description).")
        }
        guard case .object = tree else { throw DataError("\(path): expected a JSON object, as a \(kind) holds.") }
    }

    init(file: String, place: String, tree: JSONTree) {
        (self.file, self.place, self.tree) = (file, place, tree)
    }

    func failure(_ what: String) -> DataError {
        DataError(place.isEmpty ? "\(file): \(what)." : "\(file): \(place): \(what).")
    }

    private func at(_ key: String, _ tree: JSONTree) -> JSONNode {
        JSONNode(file: file, place: place.isEmpty ? key : "\(place).\(key)", tree: tree)
    }

    /// Nil where the key is missing or null. A key listed twice counts as its last value.
    func member(_ key: String) -> JSONNode? {
        guard case .object(let members) = tree, let found = members.last(where: { $0.key.elementsEqual(key.utf8) })
        else { return nil }
        if case .null = found.value { return nil }
        return at(key, found.value)
    }

    func required(_ key: String) throws(DataError) -> JSONNode {
        guard let node = member(key) else { throw failure("has no \"\(key)\"") }
        return node
    }

    func bytes() throws(DataError) -> [UInt8] {
        guard case .string(let text) = tree else { throw failure("expected a string") }
        return text
    }

    func string() throws(DataError) -> String { String(decoding: try bytes(), as: UTF8.self) }

    func scalars() throws(DataError) -> [Unicode.Scalar] { Array(try string().unicodeScalars) }

    /// A string of exactly one character.
    func scalar() throws(DataError) -> Unicode.Scalar {
        let text = try scalars()
        guard text.count == 1 else { throw failure("expected one character, found \(text.count)") }
        return text[0]
    }

    func bool() throws(DataError) -> Bool {
        guard case .bool(let value) = tree else { throw failure("expected true or false") }
        return value
    }

    func flag(_ key: String, default value: Bool = false) throws(DataError) -> Bool {
        try member(key)?.bool() ?? value
    }

    /// A whole number from 0 to `maximum`.
    func integer(atMost maximum: Int) throws(DataError) -> Int {
        guard case .number(let value) = tree else { throw failure("expected a number") }
        guard value >= 0, value <= Double(maximum), value == value.rounded() else {
            throw failure("is \(Self.text(value)), expected a whole number from 0 to \(maximum)")
        }
        return Int(value)
    }

    static func text(_ value: Double) -> String {
        abs(value) < 1e15 && value == value.rounded() ? String(Int(value)) : String(value)
    }

    func elements() throws(DataError) -> [JSONNode] {
        guard case .array(let items) = tree else { throw failure("expected a list") }
        return items.enumerated().map { JSONNode(file: file, place: "\(place)[\($0)]", tree: $1) }
    }

    func members() throws(DataError) -> [(key: [UInt8], value: JSONTree)] {
        guard case .object(let members) = tree else { throw failure("expected an object") }
        return members
    }
}
