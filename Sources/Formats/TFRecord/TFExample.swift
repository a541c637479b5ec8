/// The features of a serialised `tf.train.Example` that a caller asked for.
///
///     Example { Features features = 1 }        Features { map<string, Feature> feature = 1 }
///     Feature { oneof { BytesList bytes_list = 1; FloatList float_list = 2; Int64List int64_list = 3 } }
///
/// Lists may be packed or not. Bytes are given as ranges of the buffer, so that nothing large is copied.
package struct TFExample {
    package enum Feature: Equatable {
        case bytes([Range<Int>])
        case floats([Float])
        case integers([Int64])
        /// The key is there, but none of the three lists is.
        case empty

        /// Its protobuf name, for messages.
        package var kind: String {
            switch self {
            case .bytes: "bytes_list"
            case .floats: "float_list"
            case .integers: "int64_list"
            case .empty: "no value"
            }
        }
    }

    package private(set) var features: [String: Feature] = [:]

    /// Parses `bytes`; features not in `wanted` are stepped over.
    package init(_ bytes: UnsafeRawBufferPointer, wanted: Set<String>) throws(ProtobufCursor.Malformed) {
        var example = ProtobufCursor(bytes)
        while let field = try example.field() {
            guard field.number == 1, field.type == .delimited else {
                try example.skip(field.type)
                continue
            }
            var map = ProtobufCursor(bytes, try example.delimited())
            while let entry = try map.field() {
                guard entry.number == 1, entry.type == .delimited else {
                    try map.skip(entry.type)
                    continue
                }
                try addEntry(bytes, try map.delimited(), wanted)
            }
        }
    }

    private mutating func addEntry(
        _ bytes: UnsafeRawBufferPointer, _ range: Range<Int>, _ wanted: Set<String>
    ) throws(ProtobufCursor.Malformed) {
        var entry = ProtobufCursor(bytes, range)
        var key = 0..<0
        var value = 0..<0
        while let field = try entry.field() {
            switch (field.number, field.type) {
            case (1, .delimited): key = try entry.delimited()
            case (2, .delimited): value = try entry.delimited()
            default: try entry.skip(field.type)
            }
        }
        let name = String(decoding: bytes[key], as: UTF8.self)
        guard wanted.contains(name) else { return }
        features[name] = try Self.feature(bytes, value)  // a later entry of the same key replaces an earlier one
    }

    private static func feature(
        _ bytes: UnsafeRawBufferPointer, _ range: Range<Int>
    ) throws(ProtobufCursor.Malformed) -> Feature {
        var cursor = ProtobufCursor(bytes, range)
        var feature = Feature.empty
        while let field = try cursor.field() {
            guard field.type == .delimited, (1...3).contains(field.number) else {
                try cursor.skip(field.type)
                continue
            }
            let list = ProtobufCursor(bytes, try cursor.delimited())
            switch field.number {
            case 1: feature = .bytes(try byteStrings(list))
            case 2: feature = .floats(try floats(bytes, list))
            default: feature = .integers(try integers(bytes, list))
            }
        }
        return feature
    }

    private static func byteStrings(_ list: ProtobufCursor) throws(ProtobufCursor.Malformed) -> [Range<Int>] {
        var list = list
        var values: [Range<Int>] = []
        while let field = try list.field() {
            if field.number == 1, field.type == .delimited {
                values.append(try list.delimited())
            } else {
                try list.skip(field.type)
            }
        }
        return values
    }

    private static func floats(
        _ bytes: UnsafeRawBufferPointer, _ list: ProtobufCursor
    ) throws(ProtobufCursor.Malformed) -> [Float] {
        var list = list
        var values: [Float] = []
        while let field = try list.field() {
            switch (field.number, field.type) {
            case (1, .delimited):
                let range = try list.delimited()
                var packed = ProtobufCursor(bytes, range)
                values.reserveCapacity(values.count + range.count / 4)
                while !packed.isAtEnd { values.append(Float(bitPattern: try packed.fixed32())) }
            case (1, .fixed32): values.append(Float(bitPattern: try list.fixed32()))
            default: try list.skip(field.type)
            }
        }
        return values
    }

    private static func integers(
        _ bytes: UnsafeRawBufferPointer, _ list: ProtobufCursor
    ) throws(ProtobufCursor.Malformed) -> [Int64] {
        var list = list
        var values: [Int64] = []
        while let field = try list.field() {
            switch (field.number, field.type) {
            case (1, .delimited):
                var packed = ProtobufCursor(bytes, try list.delimited())
                while !packed.isAtEnd { values.append(Int64(bitPattern: try packed.varint())) }
            case (1, .varint): values.append(Int64(bitPattern: try list.varint()))
            default: try list.skip(field.type)
            }
        }
        return values
    }
}
