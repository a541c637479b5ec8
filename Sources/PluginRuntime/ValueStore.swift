package import FoundationEssentials

/// A borrowed array: compact, row-major, in CPU memory.
package struct ArrayView {
    package var pointer: UnsafeMutableRawPointer
    package var element: ElementType
    /// Sizes, outermost first.
    package var shape: [Int]
    package var isReadOnly: Bool
    /// Keeps the memory alive as long as the view; `nil` when whoever made the view sees to that.
    package var owner: AnyObject?

    package init(
        pointer: UnsafeMutableRawPointer, element: ElementType, shape: [Int], isReadOnly: Bool = true,
        owner: AnyObject? = nil
    ) {
        self.pointer = pointer
        self.element = element
        self.shape = shape
        self.isReadOnly = isReadOnly
        self.owner = owner
    }

    /// Number of elements.
    package var count: Int { shape.reduce(1, *) }

    /// The elements of an `f64` array. The element type is checked.
    package var doubles: UnsafeBufferPointer<Double> { buffer(.f64) }
    /// The elements of an `f32` array. The element type is checked.
    package var floats: UnsafeBufferPointer<Float> { buffer(.f32) }
    /// The elements of an `i64` array. The element type is checked.
    package var integers: UnsafeBufferPointer<Int64> { buffer(.i64) }

    private func buffer<Element>(_ expected: ElementType) -> UnsafeBufferPointer<Element> {
        precondition(element == expected, "an \(element.rawValue) array was read as \(expected.rawValue)")
        return UnsafeBufferPointer(start: UnsafePointer(pointer.assumingMemoryBound(to: Element.self)), count: count)
    }
}

/// The named values of a step: what the host puts in and what plugins produced.
///
/// Not thread-safe: it belongs to the thread that runs training.
package final class ValueStore {
    enum Value: CustomStringConvertible {
        case f64(Double)
        case i64(Int64)
        case array(ArrayView)

        var description: String {
            switch self {
            case .f64(let number): String(number)
            case .i64(let number): String(number)
            case .array: type
            }
        }

        /// Equality of scalars; arrays are never equal.
        func equals(_ other: Value) -> Bool {
            switch (self, other) {
            case (.f64(let left), .f64(let right)): left == right
            case (.i64(let left), .i64(let right)): left == right
            default: false
            }
        }

        var type: String {
            switch self {
            case .f64: "f64"
            case .i64: "i64"
            case .array(let view): "\(view.element.rawValue)[\(view.shape.map(String.init).joined(separator: ","))]"
            }
        }
    }

    /// Owned memory behind an array of the previous step.
    private final class Copy {
        let bytes: UnsafeMutableRawBufferPointer

        init(size: Int) { bytes = .allocate(byteCount: max(size, 1), alignment: 64) }

        deinit { bytes.deallocate() }
    }

    /// By slot of the name.
    private var current: ContiguousArray<Value?> = []
    private var previous: ContiguousArray<Value?> = []
    private var withheld: ContiguousArray<Bool> = []
    private var copies: [ValueName: Copy] = [:]
    private let remembered: [ValueName]?

    /// - Parameter remembering: the names whose last step's value `name@prev` reads
    ///   (``Composition/previousReads``); `nil` remembers every scalar and no array.
    package init(remembering: Set<String>? = nil) { remembered = remembering?.sorted().map { ValueName($0) } }

    package func set(_ name: ValueName, _ value: Double) { set(name, .f64(value)) }
    package func set(_ name: ValueName, _ value: Int64) { set(name, .i64(value)) }
    package func set(_ name: ValueName, _ value: ArrayView) { set(name, .array(value)) }

    func set(_ name: ValueName, _ value: Value) {
        makeRoom(for: name)
        current[name.slot] = value
        withheld[name.slot] = false
    }

    private func makeRoom(for name: ValueName) {
        guard name.slot >= current.count else { return }
        let missing = max(name.slot + 1, ValueName.count) - current.count
        current.append(contentsOf: repeatElement(nil, count: missing))
        previous.append(contentsOf: repeatElement(nil, count: missing))
        withheld.append(contentsOf: repeatElement(false, count: missing))
    }

    func value(_ name: ValueName, isPrevious: Bool = false) -> Value? {
        guard name.slot < current.count else { return nil }
        return isPrevious ? previous[name.slot] : current[name.slot]
    }

    package func double(_ name: ValueName) -> Double? {
        if case .f64(let value)? = value(name) { value } else { nil }
    }

    package func integer(_ name: ValueName) -> Int64? {
        if case .i64(let value)? = value(name) { value } else { nil }
    }

    package func array(_ name: ValueName) -> ArrayView? {
        if case .array(let view)? = value(name) { view } else { nil }
    }

    package func remove(_ name: ValueName) { if name.slot < current.count { current[name.slot] = nil } }

    /// Says that `name` has no value for now, and on purpose: hooks that require it are not called
    /// (``HookSession``) until it is set again.
    package func withhold(_ name: ValueName) {
        makeRoom(for: name)
        current[name.slot] = nil
        withheld[name.slot] = true
    }

    /// Whether `name` is withheld.
    package func isWithheld(_ name: ValueName) -> Bool { name.slot < withheld.count && withheld[name.slot] }

    /// Makes `name@prev` read what `other` has under `name`; nothing when it has nothing.
    package func setPrevious(_ name: ValueName, from other: ValueStore) {
        makeRoom(for: name)
        previous[name.slot] = other.value(name)
    }

    /// Names that have a value, sorted.
    package var names: [String] { present.map(\.description).sorted() }

    private var present: [ValueName] { current.indices.filter { current[$0] != nil }.map { ValueName(slot: $0) } }

    /// Ends a step: what is there now is what `name@prev` reads from here on. Arrays are copied, because their memory
    /// belongs to somebody else.
    package func advanceStep() {
        let names = remembered ?? present
        for slot in previous.indices { previous[slot] = nil }
        for name in names {
            switch value(name) {
            case .array(let view)?:
                if remembered != nil { previous[name.slot] = .array(copy(of: view, of: name)) }
            case let value?: previous[name.slot] = value
            case nil: break
            }
        }
    }

    private func copy(of view: ArrayView, of name: ValueName) -> ArrayView {
        let size = view.count * view.element.size
        let copy: Copy
        if let existing = copies[name], existing.bytes.count == max(size, 1) {
            copy = existing
        } else {
            copy = Copy(size: size)
            copies[name] = copy
        }
        if size > 0 { copy.bytes.copyMemory(from: .init(start: view.pointer, count: size)) }
        guard let base = copy.bytes.baseAddress else { return view }
        return ArrayView(pointer: base, element: view.element, shape: view.shape, owner: copy)
    }
}

// MARK: - By text, for tools: each call looks the name up.

extension ValueStore {
    package func set(_ name: String, _ value: Double) { set(ValueName(name), value) }
    package func set(_ name: String, _ value: Int64) { set(ValueName(name), value) }
    package func set(_ name: String, _ value: ArrayView) { set(ValueName(name), value) }
    package func double(_ name: String) -> Double? { double(ValueName(name)) }
    package func integer(_ name: String) -> Int64? { integer(ValueName(name)) }
    package func array(_ name: String) -> ArrayView? { array(ValueName(name)) }
    package func remove(_ name: String) { remove(ValueName(name)) }
    package func withhold(_ name: String) { withhold(ValueName(name)) }
    package func isWithheld(_ name: String) -> Bool { isWithheld(ValueName(name)) }
    package func setPrevious(_ name: String, from other: ValueStore) { setPrevious(ValueName(name), from: other) }
}

// MARK: - Checkpoints

extension ValueStore {
    /// One remembered value; floating point as bits, so that a round trip changes nothing.
    private struct Saved: Codable {
        var type: String
        var bits: UInt64?
        var shape: [Int]?
        var bytes: Data?
    }

    /// What `name@prev` would read next, for a checkpoint.
    package func savePrevious() throws -> Data {
        var saved: [String: Saved] = [:]
        for (slot, value) in previous.enumerated() {
            guard let value else { continue }
            saved[ValueName(slot: slot).description] =
                switch value {
                case .f64(let number): Saved(type: "f64", bits: number.bitPattern)
                case .i64(let number): Saved(type: "i64", bits: UInt64(bitPattern: number))
                case .array(let view):
                    Saved(
                        type: view.element.rawValue, shape: view.shape,
                        bytes: Data(bytes: view.pointer, count: view.count * view.element.size))
                }
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        return try encoder.encode(saved)
    }

    /// Restores what ``savePrevious()`` wrote. Throws when the data is damaged; nothing changes then.
    package func loadPrevious(_ data: Data) throws {
        struct Damaged: Error, CustomStringConvertible {
            let name: String
            var description: String { "the remembered value of '\(name)' in the checkpoint is damaged" }
        }
        let saved = try JSONDecoder().decode([String: Saved].self, from: data)
        var restored: [(name: ValueName, value: Value)] = []
        for (name, item) in saved {
            guard let element = ElementType(rawValue: item.type) else { throw Damaged(name: name) }
            if let shape = item.shape, var bytes = item.bytes {
                var count = element.size
                for size in shape {
                    let (product, isOverflow) = count.multipliedReportingOverflow(by: size)
                    guard size >= 0, !isOverflow else { throw Damaged(name: name) }
                    count = product
                }
                guard count == bytes.count else { throw Damaged(name: name) }
                let view = bytes.withUnsafeMutableBytes { buffer -> ArrayView? in
                    guard let base = buffer.baseAddress else { return nil }
                    return copy(of: ArrayView(pointer: base, element: element, shape: shape), of: ValueName(name))
                }
                if let view { restored.append((ValueName(name), .array(view))) }
            } else if let bits = item.bits, element != .f32 {
                let value: Value = element == .f64 ? .f64(Double(bitPattern: bits)) : .i64(Int64(bitPattern: bits))
                restored.append((ValueName(name), value))
            } else {
                throw Damaged(name: name)
            }
        }
        for slot in previous.indices { previous[slot] = nil }
        for (name, value) in restored {
            makeRoom(for: name)
            previous[name.slot] = value
        }
    }
}
