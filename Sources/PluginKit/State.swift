import PluginAPI

/// Where a plugin writes its state: fixed-size little-endian values, in the order they are read back.
public struct StateWriter {
    private let output: UnsafePointer<craft_output>

    init(_ output: UnsafePointer<craft_output>) { self.output = output }

    /// Bit patterns are kept: a restored value equals the saved one exactly.
    public mutating func write(_ value: Double) throws { try write(value.bitPattern) }

    public mutating func write(_ value: Int64) throws { try write(UInt64(bitPattern: value)) }

    /// A count, then the values.
    public mutating func write(_ values: [Double]) throws {
        try write(Int64(values.count))
        for value in values { try write(value) }
    }

    private func write(_ bits: UInt64) throws {
        let isTaken = withUnsafeBytes(of: bits.littleEndian) { bytes in
            output.pointee.write?(output.pointee.context, bytes.baseAddress, 8) == 8
        }
        guard isTaken else { throw PluginError("the host could not take the plugin's state") }
    }
}

/// Where a plugin reads its state. Every read throws ``PluginError`` when the state ends early.
public struct StateReader {
    private let input: UnsafePointer<craft_input>

    init(_ input: UnsafePointer<craft_input>) { self.input = input }

    public mutating func double() throws -> Double { Double(bitPattern: try bits()) }

    public mutating func integer() throws -> Int64 { Int64(bitPattern: try bits()) }

    /// A count, then the values. `limit` bounds what a damaged count can make the plugin allocate.
    public mutating func doubles(limit: Int = 1 << 24) throws -> [Double] {
        let count = try integer()
        guard count >= 0, count <= limit else {
            throw PluginError("the saved state is damaged: \(count) values in a list")
        }
        var values: [Double] = []
        for _ in 0..<count { values.append(try double()) }
        return values
    }

    private func bits() throws -> UInt64 {
        var bits: UInt64 = 0
        var filled = 0
        try withUnsafeMutableBytes(of: &bits) { bytes in
            // The host may give fewer bytes than asked for.
            while filled < 8 {
                guard let start = bytes.baseAddress, let read = input.pointee.read else { break }
                let count = read(input.pointee.context, start + filled, UInt64(8 - filled))
                guard count > 0, count <= 8 - filled else { throw PluginError("the saved state ends too early") }
                filled += Int(count)
            }
        }
        return UInt64(littleEndian: bits)
    }
}
