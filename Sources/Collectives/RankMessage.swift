internal import Formats

/// A small message between ranks: numbers and texts, read in the order in which they were written. Ranks are of one kind of
/// machine (``RankFacts``): bytes are as they are in memory.
package struct MessageWriter {
    package private(set) var bytes: [UInt8] = []

    package init() {}

    package mutating func add(_ value: Int) { withUnsafeBytes(of: value) { bytes += $0 } }
    package mutating func add(_ value: Double) { withUnsafeBytes(of: value) { bytes += $0 } }
    package mutating func add(_ values: [Double]) {
        add(values.count)
        values.withUnsafeBytes { bytes += $0 }
    }
    package mutating func add(_ raw: [UInt8]) {
        add(raw.count)
        bytes += raw
    }
    package mutating func add(_ text: String) { add(Array(text.utf8)) }
    package mutating func add(_ value: Double?) {
        add(value == nil ? 0 : 1)
        add(value ?? 0)
    }
    package mutating func add(_ flags: [Bool]) {
        add(flags.count)
        for start in stride(from: 0, to: flags.count, by: 8) {
            bytes.append(flags[start..<min(start + 8, flags.count)].reversed().reduce(0) { $0 << 1 | ($1 ? 1 : 0) })
        }
    }
}

package struct MessageReader {
    private let bytes: [UInt8]
    private var place = 0

    package init(_ bytes: [UInt8]) { self.bytes = bytes }

    private mutating func take(_ count: Int) throws(CollectiveError) -> ArraySlice<UInt8> {
        guard count >= 0, count <= bytes.count - place else {
            throw CollectiveError(.failed, "a message between ranks ends too early; are all of them the same craft?")
        }
        defer { place += count }
        return bytes[place..<place + count]
    }

    package mutating func integer() throws(CollectiveError) -> Int {
        try take(8).withUnsafeBytes { $0.loadUnaligned(as: Int.self) }
    }
    package mutating func number() throws(CollectiveError) -> Double {
        try take(8).withUnsafeBytes { $0.loadUnaligned(as: Double.self) }
    }
    package mutating func optionalNumber() throws(CollectiveError) -> Double? {
        let isThere = try integer() != 0
        let value = try number()
        return isThere ? value : nil
    }
    package mutating func numbers() throws(CollectiveError) -> [Double] {
        let count = try integer()
        guard count >= 0, count <= bytes.count / 8 else {
            _ = try take(-1)
            return []
        }
        return try take(count * 8).withUnsafeBytes { raw in
            (0..<count).map { raw.loadUnaligned(fromByteOffset: $0 * 8, as: Double.self) }
        }
    }
    package mutating func raw() throws(CollectiveError) -> [UInt8] { Array(try take(try integer())) }
    package mutating func text() throws(CollectiveError) -> String { String(decoding: try raw(), as: UTF8.self) }
    package mutating func flags() throws(CollectiveError) -> [Bool] {
        let count = try integer()
        guard count >= 0 else {
            _ = try take(-1)
            return []
        }
        let packed = Array(try take((count + 7) / 8))
        return (0..<count).map { packed[$0 / 8] >> UInt8($0 % 8) & 1 == 1 }
    }
}
