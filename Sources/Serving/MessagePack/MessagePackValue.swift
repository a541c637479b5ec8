/// A MessagePack value. Binary data are slices of the message they came in.
package enum MessagePackValue: Sendable {
    case null
    case boolean(Bool)
    case integer(Int64)
    /// Unsigned integers above `Int64.max`.
    case unsigned(UInt64)
    case number(Double)
    case text(String)
    case binary(ArraySlice<UInt8>)
    case list([MessagePackValue])
    case map([Entry])

    package struct Entry: Sendable {
        package var key: MessagePackValue
        package var value: MessagePackValue

        package init(_ key: MessagePackValue, _ value: MessagePackValue) { (self.key, self.value) = (key, value) }
    }

    /// A map with text keys, in the order given.
    package static func object(_ entries: KeyValuePairs<String, MessagePackValue>) -> MessagePackValue {
        .map(entries.map { Entry(.text($0.key), $0.value) })
    }

    /// The value of a key, written as text or, as openpi's arrays have it, as bytes.
    package subscript(key: String) -> MessagePackValue? {
        guard case .map(let entries) = self else { return nil }
        return entries.first { $0.key.isKey(key) }?.value
    }

    /// The keys of a map as text, for messages.
    package var keys: [String] {
        guard case .map(let entries) = self else { return [] }
        return entries.map { entry in
            switch entry.key {
            case .text(let text): text
            case .binary(let bytes): String(decoding: bytes.prefix(64), as: UTF8.self)
            default: entry.key.kind
            }
        }
    }

    private func isKey(_ key: String) -> Bool {
        switch self {
        case .text(let text): text == key
        case .binary(let bytes): bytes.elementsEqual(key.utf8)
        default: false
        }
    }

    package var integer: Int64? { if case .integer(let value) = self { value } else { nil } }

    package var double: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .unsigned(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }

    package var text: String? { if case .text(let value) = self { value } else { nil } }

    /// What it is, in the words of an error message.
    package var kind: String {
        switch self {
        case .null: "nil"
        case .boolean: "a boolean"
        case .integer, .unsigned: "an integer"
        case .number: "a number"
        case .text: "a text"
        case .binary(let bytes): "\(bytes.count) bytes"
        case .list(let values): "a list of \(values.count)"
        case .map(let entries): "a map of \(entries.count) keys"
        }
    }
}

extension MessagePackValue: CustomStringConvertible {
    /// A short value as it is, a longer one's ``kind``.
    package var description: String {
        switch self {
        case .boolean(let value): "\(value)"
        case .integer(let value): "\(value)"
        case .unsigned(let value): "\(value)"
        case .number(let value): "\(value)"
        case .text(let text): "'\(text.prefix(32))'"
        default: kind
        }
    }
}

extension MessagePackValue: Equatable {
    package static func == (a: MessagePackValue, b: MessagePackValue) -> Bool {
        switch (a, b) {
        case (.null, .null): true
        case (.boolean(let x), .boolean(let y)): x == y
        case (.integer(let x), .integer(let y)): x == y
        case (.unsigned(let x), .unsigned(let y)): x == y
        case (.number(let x), .number(let y)): x.bitPattern == y.bitPattern
        case (.text(let x), .text(let y)): x == y
        case (.binary(let x), .binary(let y)): x == y
        case (.list(let x), .list(let y)): x == y
        case (.map(let x), .map(let y)):
            x.count == y.count && zip(x, y).allSatisfy { $0.key == $1.key && $0.value == $1.value }
        default: false
        }
    }
}
