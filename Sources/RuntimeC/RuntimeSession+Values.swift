import Glibc
import PluginAPI
import PluginRuntime
internal import Spelling

/// A name that the host asked for.
struct KnownName {
    /// What the host may do with it.
    enum Role: Equatable {
        /// Set by the host.
        case given
        /// Loss of an objective of the host's own.
        case loss
        /// Read only, and why: a plugin gives it, or the session does.
        case own(String)
    }

    let text: String
    let name: ValueName
    let type: ValueType
    let role: Role
    /// Shape and strides of the view that was handed out last.
    var dimensions: UnsafeMutablePointer<Int64>?
}

extension RuntimeSession {
    /// What the session says itself, at its own time.
    private static let own: Set<String> = [
        "step", "lr", "seed", "objectives", "gram", "weights", "losses", "rows", "numel", "grads", "combined",
        "block_group", "block_layer", "block_kind", "block_shape", "steps", "batch", "hidden_states", "hidden_size",
        "visual_tokens", "queries",
    ]

    func handle(of text: String) throws -> Int32 {
        if let handle = handles[text] { return handle }
        guard let match = NameRegistry.training.match(text) else { throw unknown(text) }
        known.append(
            KnownName(text: text, name: ValueName(text), type: match.type, role: role(of: text, match.entry)))
        let handle = Int32(clamping: known.count)
        handles[text] = handle
        return handle
    }

    private func role(of text: String, _ entry: NameRegistry.Entry) -> KnownName.Role {
        if text.hasPrefix("loss."), hostObjectives.contains(String(text.dropFirst("loss.".count))) { return .loss }
        if text.hasPrefix("lambda.") {
            let objective = String(text.dropFirst("lambda.".count))
            return session.objectives.contains(objective)
                ? .given : .own("there is no objective '\(objective)'")
        }
        if let plugin = session.composition.provider(of: text) { return .own("plugin \(plugin) gives it") }
        let isOwn = Self.own.contains(text) || text.hasPrefix("index.") || text.hasPrefix("gradient_norm.")
        if isOwn { return .own("the session says it itself") }
        return entry.provider == .host ? .given : .own("only a plugin may give it")
    }

    func unknown(_ name: String) -> RuntimeProblem {
        let hint = Suggestion.hint(
            for: name, among: NameRegistry.training.entries.map(\.pattern.description),
            otherwise: "craft plugins names lists them")
        return RuntimeProblem("the registry has no name '\(name)'; \(hint)")
    }

    private func index(_ handle: Int32) throws -> Int {
        guard handle >= 1, Int(handle) <= known.count else {
            throw RuntimeProblem("\(handle) is no handle of this session; craft_runtime_name gives them")
        }
        return Int(handle) - 1
    }

    private func settable(_ handle: Int32, _ what: String, _ fits: (ValueType) -> Bool) throws -> Int {
        let index = try index(handle)
        let name = known[index]
        if case .own(let reason) = name.role { throw RuntimeProblem("'\(name.text)' cannot be set: \(reason)") }
        guard fits(name.type) else { throw RuntimeProblem("'\(name.text)' is \(name.type), not \(what)") }
        return index
    }

    func set(_ handle: Int32, _ value: Double) throws {
        let index = try settable(handle, "an f64") { !$0.isArray && $0.element == .f64 }
        guard value.isFinite else {
            throw RuntimeProblem("'\(known[index].text)' is \(value); expected a finite number")
        }
        session.values.set(known[index].name, value)
    }

    func set(_ handle: Int32, _ value: Int64) throws {
        let index = try settable(handle, "an i64") { !$0.isArray && $0.element == .i64 }
        session.values.set(known[index].name, value)
    }

    func set(_ handle: Int32, _ array: craft_array?) throws {
        guard let array else {
            let index = try settable(handle, "") { _ in true }
            session.values.withhold(known[index].name)
            lent.insert(index)
            return
        }
        let index = try settable(handle, "an array", \.isArray)
        let name = known[index]
        let axes = name.type.axes ?? []
        let view = try Self.view(of: array, as: name.type.element, rank: axes.count, "'\(name.text)' (\(name.type))")
        session.values.set(name.name, view)
        lent.insert(index)
    }

    /// The array as hooks are shown it. `what` names it in errors.
    static func view(of array: craft_array, as element: ElementType, rank: Int, _ what: String) throws -> ArrayView {
        guard array.device_type == CRAFT_DEVICE_CPU else {
            throw RuntimeProblem(
                "\(what): its device is \(array.device_type); arrays have to be in CPU memory (\(CRAFT_DEVICE_CPU))")
        }
        let code = element == .i64 ? CRAFT_TYPE_INT : CRAFT_TYPE_FLOAT
        guard UInt32(array.type_code) == code, Int(array.type_bits) == element.size * 8, array.type_lanes == 1 else {
            throw RuntimeProblem(
                "\(what): its elements have type code \(array.type_code), \(array.type_bits) bits and \(array.type_lanes) lanes; "
                    + "\(element.rawValue) is code \(code), \(element.size * 8) bits and 1 lane")
        }
        guard Int(array.ndim) == rank else {
            throw RuntimeProblem("\(what): it has \(array.ndim) axes, expected \(rank)")
        }
        guard rank == 0 || array.shape != nil else { throw RuntimeProblem("\(what): its shape is NULL") }
        let shape = (0..<rank).map { array.shape[$0] }
        var count: Int64 = 1
        for size in shape {
            let (product, isTooLarge) = count.multipliedReportingOverflow(by: size)
            guard size >= 0, !isTooLarge, product <= Int64.max / 16 else {
                throw RuntimeProblem("\(what): its shape is \(shape)")
            }
            count = product
        }
        if let strides = array.strides, count > 0 {
            var expected: Int64 = 1
            for axis in (0..<rank).reversed() {
                guard shape[axis] == 1 || strides[axis] == expected else {
                    throw RuntimeProblem(
                        "\(what): its strides are \((0..<rank).map { strides[$0] }) at shape \(shape); it has to be compact and "
                            + "row-major")
                }
                expected *= shape[axis]
            }
        }
        guard let data = array.data ?? (count == 0 ? empty : nil) else {
            throw RuntimeProblem("\(what): its data is NULL, but shape \(shape) has \(count) elements")
        }
        guard let offset = Int(exactly: array.byte_offset), offset <= Int.max / 2 else {
            throw RuntimeProblem("\(what): its byte_offset is \(array.byte_offset)")
        }
        let start = data + offset
        guard UInt(bitPattern: start) % UInt(element.size) == 0 else {
            throw RuntimeProblem("\(what): its data is not aligned to \(element.size) bytes")
        }
        return ArrayView(pointer: start, element: element, shape: shape.map { Int($0) })
    }

    /// What arrays without elements point at.
    nonisolated(unsafe) private static let empty = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 64)

    /// Nil: there is none at the moment.
    func double(_ handle: Int32) throws -> Double? {
        let name = known[try index(handle)]
        guard !name.type.isArray, name.type.element == .f64 else {
            throw RuntimeProblem("'\(name.text)' is \(name.type), not an f64")
        }
        return session.values.double(name.name)
    }

    func integer(_ handle: Int32) throws -> Int64? {
        let name = known[try index(handle)]
        guard !name.type.isArray, name.type.element == .i64 else {
            throw RuntimeProblem("'\(name.text)' is \(name.type), not an i64")
        }
        return session.values.integer(name.name)
    }

    func array(_ handle: Int32) throws -> craft_array? {
        let index = try index(handle)
        let name = known[index]
        guard name.type.isArray else { throw RuntimeProblem("'\(name.text)' is \(name.type), not an array") }
        guard let view = session.values.array(name.name) else { return nil }
        let rank = view.shape.count
        name.dimensions?.deallocate()
        let dimensions = UnsafeMutablePointer<Int64>.allocate(capacity: max(2 * rank, 1))
        known[index].dimensions = dimensions
        var stride: Int64 = 1
        for axis in (0..<rank).reversed() {
            (dimensions + axis).initialize(to: Int64(view.shape[axis]))
            (dimensions + rank + axis).initialize(to: stride)
            stride *= Int64(view.shape[axis])
        }
        var array = craft_array()
        array.data = view.pointer
        array.device_type = CRAFT_DEVICE_CPU
        array.ndim = Int32(rank)
        array.type_code = UInt8(view.element == .i64 ? CRAFT_TYPE_INT : CRAFT_TYPE_FLOAT)
        array.type_bits = UInt8(view.element.size * 8)
        array.type_lanes = 1
        array.shape = dimensions
        array.strides = dimensions + rank
        array.flags = UInt64(CRAFT_ARRAY_READ_ONLY)
        return array
    }
}
