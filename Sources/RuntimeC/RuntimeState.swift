import FoundationEssentials
import PluginRuntime

/// A session's state as bytes.
///
///     "CRAFTRUN", version
///     multipliers: count, then name and bits of each
///     plugins: count, then name and bytes of each
///     what name@prev reads: bytes
///     factors on the learning rate by parameter group: count, then name and bits of each (since version 2)
///
/// Numbers are 64 bits, little-endian; a text or bytes follow their length. Names are in order, so that equal states give equal
/// bytes.
enum RuntimeState {
    private static let magic = Array("CRAFTRUN".utf8)
    private static let version: UInt64 = 2

    static func encode(_ state: HookSession.State) -> [UInt8] {
        var bytes = magic
        func put(_ number: UInt64) { withUnsafeBytes(of: number.littleEndian) { bytes.append(contentsOf: $0) } }
        func put(_ content: some Collection<UInt8>) {
            put(UInt64(content.count))
            bytes.append(contentsOf: content)
        }
        put(version)
        func put(_ numbers: [String: Double]) {
            put(UInt64(numbers.count))
            for (name, value) in numbers.sorted(by: { $0.key < $1.key }) {
                put(name.utf8)
                put(value.bitPattern)
            }
        }
        put(state.multipliers)
        put(UInt64(state.plugins.count))
        for (name, data) in state.plugins.sorted(by: { $0.key < $1.key }) {
            put(name.utf8)
            put(data)
        }
        put(state.previousValues)
        put(state.rateScales)
        return bytes
    }

    /// Throws ``RuntimeProblem`` when the bytes are no such state.
    static func decode(_ bytes: UnsafeRawBufferPointer) throws -> HookSession.State {
        var rest = bytes[...]
        func take(_ count: UInt64) throws -> Slice<UnsafeRawBufferPointer> {
            guard count <= UInt64(rest.count) else {
                throw RuntimeProblem("the state is damaged: it ends within its \(bytes.count) bytes' last part")
            }
            defer { rest = rest.dropFirst(Int(count)) }
            return rest.prefix(Int(count))
        }
        func number() throws -> UInt64 { try take(8).reversed().reduce(0) { $0 << 8 | UInt64($1) } }
        func text() throws -> String { String(decoding: try take(try number()), as: UTF8.self) }
        guard bytes.count >= 16, try take(8).elementsEqual(magic) else {
            throw RuntimeProblem(
                "these \(bytes.count) bytes are not the state of a session (they do not begin with CRAFTRUN)")
        }
        let version = try number()
        guard (1...self.version).contains(version) else {
            throw RuntimeProblem("the state has version \(version), this library reads 1 to \(self.version)")
        }
        func numbers(_ what: String) throws -> [String: Double] {
            var numbers: [String: Double] = [:]
            for _ in 0..<(try number()) { numbers[try text()] = Double(bitPattern: try number()) }
            if let bad = numbers.first(where: { !$0.value.isFinite }) {
                throw RuntimeProblem("the state is damaged: the \(what) of '\(bad.key)' is \(bad.value)")
            }
            return numbers
        }
        let multipliers = try numbers("multiplier")
        var plugins: [String: Data] = [:]
        for _ in 0..<(try number()) { plugins[try text()] = Data(try take(try number())) }
        let previous = Data(try take(try number()))
        let rateScales = version == 1 ? [:] : try numbers("learning rate's factor")
        guard rest.isEmpty else { throw RuntimeProblem("the state is damaged: \(rest.count) bytes follow its end") }
        return HookSession.State(
            multipliers: multipliers, plugins: plugins, previousValues: previous, rateScales: rateScales)
    }
}
