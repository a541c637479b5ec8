import PluginAPI

/// Where a plugin writes its state: little-endian values, in the order they are read back. Bit patterns are kept.
public struct StateWriter {
    private let output: UnsafePointer<craft_output>

    init(_ output: UnsafePointer<craft_output>) { self.output = output }

    /// Writes a number.
    public mutating func write(_ value: Double) throws { try write(Int64(bitPattern: value.bitPattern)) }

    /// Writes a whole number.
    public mutating func write(_ value: Int64) throws { try withUnsafeBytes(of: value) { try write($0) } }

    /// A count, then the values.
    public mutating func write(_ values: [Double]) throws { try write(list: values) }

    /// A count, then the values, in half the bytes of doubles.
    public mutating func write(_ values: [Float]) throws { try write(list: values) }

    /// A count, then the values.
    public mutating func write(_ values: [Int64]) throws { try write(list: values) }

    /// Writes a count of bytes, then the text in UTF-8.
    public mutating func write(_ text: String) throws { try write(list: Array(text.utf8)) }

    private mutating func write<Value: BitwiseCopyable>(list values: [Value]) throws {
        try write(Int64(values.count))
        try values.withUnsafeBytes { try write($0) }
    }

    private func write(_ bytes: UnsafeRawBufferPointer) throws {
        guard !bytes.isEmpty else { return }
        let taken = output.pointee.write?(output.pointee.context, bytes.baseAddress, UInt64(bytes.count))
        guard taken == Int64(bytes.count) else { throw PluginError("the host could not take the plugin's state") }
    }
}

/// Where a plugin reads its state. Every read throws ``PluginError`` when the state ends early. A `limit` bounds what a
/// damaged count can make the plugin allocate.
public struct StateReader {
    private let input: UnsafePointer<craft_input>

    init(_ input: UnsafePointer<craft_input>) { self.input = input }

    /// Reads a number.
    public mutating func double() throws -> Double { Double(bitPattern: UInt64(bitPattern: try integer())) }

    /// Reads a whole number.
    public mutating func integer() throws -> Int64 {
        var value: Int64 = 0
        try withUnsafeMutableBytes(of: &value) { try fill($0) }
        return value
    }

    /// A count, then the values.
    public mutating func doubles(limit: Int = 1 << 24) throws -> [Double] { try list(limit, of: 0) }

    /// A count, then the values.
    public mutating func floats(limit: Int = 1 << 24) throws -> [Float] { try list(limit, of: 0) }

    /// A count, then the values.
    public mutating func integers(limit: Int = 1 << 24) throws -> [Int64] { try list(limit, of: 0) }

    /// Reads a text of at most `limit` bytes.
    public mutating func text(limit: Int = 1 << 16) throws -> String {
        let bytes: [UInt8] = try list(limit, of: 0)
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw PluginError("the saved state is damaged: a text is not UTF-8")
        }
        return text
    }

    private mutating func list<Value: BitwiseCopyable>(_ limit: Int, of zero: Value) throws -> [Value] {
        let count = try integer()
        guard count >= 0, count <= limit else {
            throw PluginError("the saved state is damaged: \(count) values in a list of at most \(limit)")
        }
        var values: [Value] = []
        // In pieces: a damaged count costs no more memory than there is state.
        while values.count < Int(count) {
            var piece = [Value](repeating: zero, count: min(Int(count) - values.count, 1 << 16))
            try piece.withUnsafeMutableBytes { try fill($0) }
            values += piece
        }
        return values
    }

    /// The host may give fewer bytes than asked for.
    private func fill(_ bytes: UnsafeMutableRawBufferPointer) throws {
        var filled = 0
        while filled < bytes.count {
            let rest = bytes.count - filled
            let start = bytes.baseAddress.map { $0 + filled }
            let count = input.pointee.read?(input.pointee.context, start, UInt64(rest)) ?? -1
            guard count > 0, count <= rest else { throw PluginError("the saved state ends too early") }
            filled += Int(count)
        }
    }
}
