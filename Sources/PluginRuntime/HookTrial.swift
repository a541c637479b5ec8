import CFloatingPoint
import Glibc
import PluginAPI

/// A value made up to try a hook with.
package enum TrialValue {
    case f64(Double)
    case i64(Int64)
    /// Row-major elements as bytes.
    case array(bytes: [UInt8], shape: [Int])
}

/// How a trial lays out what it shows to a hook.
package enum TrialLayout: Sendable {
    /// Room around every buffer, inputs writable: what goes wrong with memory is noticed, and nothing else disturbed.
    case roomy
    /// The byte after each buffer is inaccessible.
    case exactAtEnd
    /// The byte before each buffer is inaccessible.
    case exactAtStart
    /// Room around every buffer; writing to inputs and to the views of arrays is a fault.
    case readOnly

    var side: GuardedMemory.Side {
        switch self {
        case .roomy, .readOnly: .none
        case .exactAtEnd: .end
        case .exactAtStart: .start
        }
    }
}

/// What a hook did with the values it was given.
package struct TrialOutcome: Equatable {
    package struct Result: Equatable {
        package var name: String
        package var type: ValueType
        package var isOptional: Bool
        /// `nil` for an array that the host could not offer, because an absent input leaves its size open.
        package var bytes: [UInt8]?
        package var shape: [Int]
        /// Elements that still hold what the host left there.
        package var unwritten: [Int]
        /// Elements that are infinite or not a number, unwritten ones aside.
        package var nonFinite: [Int]
    }

    package var status: Int32
    package var message: String
    package var results: [Result]
    /// Inputs and views that are not what they were.
    package var changed: [String]
    /// Buffers beyond whose bounds something was written.
    package var overrun: [String]
    /// What belongs to the host and was changed; looked for when the trial is asked to.
    package var process: [String]
}

/// Why a trial could not be made; the plugin has no part in it.
package struct TrialError: Error, CustomStringConvertible {
    package let description: String
}

/// Calls one hook with made-up values, every argument in guarded memory of its own.
///
/// Training calls hooks through `BoundHook`, which checks and reuses; this shows what a plugin does to memory and leaves
/// results as they come.
package final class HookTrial {
    private let instance: PluginInstance
    private let hook: BoundHook
    private let frame: CallFrame
    /// What is left in results before a call: a NaN in f64 and in either half as f32, that no computation produces.
    private static let unwritten: UInt64 = 0x7ff8_c4af_7fea_d0b1

    package var point: HookPoint { hook.point }
    package var inputs: [HookArgument] { hook.inputs }
    package var results: [HookArgument] { hook.results }

    /// A trial of each hook of the instance, in declared order.
    package static func all(of instance: PluginInstance) -> [HookTrial] {
        instance.hooks.map { HookTrial(instance, $0) }
    }

    private init(_ instance: PluginInstance, _ hook: BoundHook) {
        self.instance = instance
        self.hook = hook
        frame = CallFrame(codes: hook.hook.signature.codes)
    }

    /// One array argument: its view, its shape and strides, its elements.
    private struct ArrayMemory {
        let view: GuardedMemory
        let dimensions: GuardedMemory
        let data: GuardedMemory
        let shape: [Int]
        var all: [GuardedMemory] { [view, dimensions, data] }
    }

    private struct Piece {
        let name: String
        let memory: GuardedMemory
        let before: [UInt8]
    }

    /// What the session gives this hook, an entry per input, nil for what it does not have. `nil` as a whole: the hook is not
    /// called in such a step.
    package func values(from session: HookSession) -> [TrialValue?]? {
        if hook.requires(session.values.isWithheld) { return nil }
        return inputs.map { input in
            switch session.values.value(ValueName(input.name), isPrevious: input.isPrevious) {
            case .f64(let number)?: .f64(number)
            case .i64(let number)?: .i64(number)
            case .array(let view)?:
                .array(
                    bytes: [UInt8](UnsafeRawBufferPointer(start: view.pointer, count: view.count * view.element.size)),
                    shape: view.shape)
            case nil: nil
            }
        }
    }

    /// Calls the hook. `values` has an entry per input; `nil` leaves an optional one out. `context` says in a crash report what
    /// was being tried; `watchesProcess` looks for what it changed of the process. Throws ``TrialError``.
    package func call(
        _ values: [TrialValue?], step: Int, layout: TrialLayout, context: String, watchesProcess: Bool = false
    ) throws -> TrialOutcome {
        let side = layout.side
        var constants: [Piece] = []
        var sizes: [String: Int] = [:]
        func fix(_ name: String, _ memory: GuardedMemory) {
            constants.append(Piece(name: name, memory: memory, before: Self.bytes(memory)))
            if case .readOnly = layout { memory.protect() }
        }
        for (index, input) in inputs.enumerated() {
            switch values[index] {
            case nil: frame.slots[index].array = nil
            case .f64(let number)? where !input.isOptional: frame.slots[index].f64 = number
            case .i64(let number)? where !input.isOptional: frame.slots[index].i64 = number
            case .f64(let number)?:
                let memory = try guarded(8, side, "input '\(input.name)'")
                memory.data.storeBytes(of: number, as: Double.self)
                frame.slots[index].optional_f64 = UnsafePointer(memory.data.assumingMemoryBound(to: Double.self))
                fix("input '\(input.name)'", memory)
            case .i64(let number)?:
                let memory = try guarded(8, side, "input '\(input.name)'")
                memory.data.storeBytes(of: number, as: Int64.self)
                frame.slots[index].optional_i64 = UnsafePointer(memory.data.assumingMemoryBound(to: Int64.self))
                fix("input '\(input.name)'", memory)
            case .array(let bytes, let shape)?:
                let array = try makeArray(input, shape, side, "input", flags: UInt64(CRAFT_ARRAY_READ_ONLY))
                array.data.data.copyMemory(from: bytes, byteCount: bytes.count)
                for (axis, size) in zip(input.type.axes ?? [], shape) { sizes[axis] = size }
                frame.slots[index].array = UnsafePointer(array.view.data.assumingMemoryBound(to: craft_array.self))
                fix("view of '\(input.name)'", array.view)
                fix("shape of '\(input.name)'", array.dimensions)
                fix("input '\(input.name)'", array.data)
            }
        }
        var written: [(memory: GuardedMemory, shape: [Int])?] = []
        for (offset, result) in results.enumerated() {
            let index = inputs.count + offset
            guard let axes = result.type.axes else {
                let memory = try guarded(8, side, "result '\(result.name)'")
                memory.data.storeBytes(of: CRAFT_UNWRITTEN, as: Int64.self)
                frame.slots[index].f64_result = memory.data.assumingMemoryBound(to: Double.self)
                written.append((memory, []))
                continue
            }
            let shape = axes.compactMap { Int($0) ?? sizes[$0] }
            guard shape.count == axes.count else {
                frame.slots[index].array_result = nil
                written.append(nil)
                continue
            }
            let array = try makeArray(result, shape, side, "result", flags: 0)
            Self.fill(array.data)
            frame.slots[index].array_result = array.view.data.assumingMemoryBound(to: craft_array.self)
            fix("view of '\(result.name)'", array.view)
            fix("shape of '\(result.name)'", array.dimensions)
            written.append((array.data, shape))
        }
        let errorMemory = try guarded(MemoryLayout<craft_error>.size, side, "the error message")
        let error = errorMemory.data.bindMemory(to: craft_error.self, capacity: 1)
        error.initialize(to: PluginInstance.emptyError())

        // What lies behind the declared arguments is not the plugin's to read.
        let slotMemory = try guarded(
            max(frame.count, 1) * MemoryLayout<craft_slot>.size, side, "the declared arguments")
        let slots = slotMemory.data.bindMemory(to: craft_slot.self, capacity: frame.count)
        slots.initialize(from: frame.slots, count: frame.count)
        fix("the declared arguments", slotMemory)

        let label = CrashReport.Label("plugin \(instance.name), \(point.rawValue) hook, \(context)")
        let control = craft_fp_control()
        var status = CRAFT_OK
        func call() {
            CrashReport.enter(label, step: step)
            status = frame.call(hook.hook, instance.pointer, error, slots: slots)
            CrashReport.leave()
        }
        var process: [String] = []
        if watchesProcess { process = ProcessState.changes(by: call) } else { call() }
        if craft_fp_control() != control {
            process.append("the floating-point environment")
            craft_fp_restore(control)
        }

        let results = zip(self.results, written).map { result, place in
            Self.outcome(result, place?.memory, place?.shape ?? [])
        }
        let pieces =
            constants.map { ($0.name, $0.memory) } + [("the error message", errorMemory)]
            + zip(self.results, written).compactMap { result, place in
                place.map { ("result '\(result.name)'", $0.memory) }
            }
        return TrialOutcome(
            status: status, message: PluginInstance.message(of: &error.pointee), results: results,
            changed: constants.filter { Self.bytes($0.memory) != $0.before }.map(\.name),
            overrun: pieces.filter { !$0.1.isSlackIntact }.map(\.0), process: process)
    }

    private func guarded(_ count: Int, _ side: GuardedMemory.Side, _ name: String) throws -> GuardedMemory {
        guard let memory = GuardedMemory(byteCount: count, side: side, name: name) else {
            throw TrialError(description: "there is no memory for \(count) guarded bytes")
        }
        return memory
    }

    private func makeArray(
        _ argument: HookArgument, _ shape: [Int], _ side: GuardedMemory.Side, _ role: String, flags: UInt64
    ) throws -> ArrayMemory {
        let view = try guarded(MemoryLayout<craft_array>.size, side, "view of '\(argument.name)'")
        let dimensions = try guarded(16 * shape.count, side, "shape of '\(argument.name)'")
        let count = shape.reduce(argument.type.element.size, *)
        let data = try guarded(count, side, "\(role) '\(argument.name)'")
        let sizes = dimensions.data.bindMemory(to: Int64.self, capacity: 2 * shape.count)
        var stride: Int64 = 1
        for axis in shape.indices.reversed() {
            sizes[axis] = Int64(shape[axis])
            sizes[shape.count + axis] = stride
            stride *= Int64(shape[axis])
        }
        var array = craft_array()
        array.data = data.data
        array.device_type = CRAFT_DEVICE_CPU
        array.ndim = Int32(shape.count)
        array.type_code = UInt8(argument.type.element == .i64 ? CRAFT_TYPE_INT : CRAFT_TYPE_FLOAT)
        array.type_bits = UInt8(argument.type.element.size * 8)
        array.type_lanes = 1
        array.shape = sizes
        array.strides = sizes + shape.count
        array.flags = flags
        view.data.bindMemory(to: craft_array.self, capacity: 1).initialize(to: array)
        return ArrayMemory(view: view, dimensions: dimensions, data: data, shape: shape)
    }

    private static func bytes(_ memory: GuardedMemory) -> [UInt8] {
        [UInt8](UnsafeRawBufferPointer(start: memory.data, count: memory.byteCount))
    }

    private static func fill(_ memory: GuardedMemory) {
        withUnsafeBytes(of: unwritten) { pattern in
            for index in 0..<memory.byteCount {
                memory.data.storeBytes(of: pattern[index % 8], toByteOffset: index, as: UInt8.self)
            }
        }
    }

    private static func outcome(_ result: HookArgument, _ memory: GuardedMemory?, _ shape: [Int]) -> TrialOutcome.Result
    {
        var outcome = TrialOutcome.Result(
            name: result.name, type: result.type, isOptional: result.isOptional, bytes: nil, shape: shape,
            unwritten: [],
            nonFinite: [])
        guard let memory else { return outcome }
        outcome.bytes = bytes(memory)
        let size = result.type.element.size
        for index in 0..<memory.byteCount / size {
            let place = memory.data + index * size
            switch result.type.element {
            case .f32:
                let value = place.loadUnaligned(as: UInt32.self)
                if value == UInt32(truncatingIfNeeded: unwritten >> (32 * UInt64(index % 2))) {
                    outcome.unwritten.append(index)
                } else if !Float(bitPattern: value).isFinite {
                    outcome.nonFinite.append(index)
                }
            case .f64, .i64:
                let value = place.loadUnaligned(as: UInt64.self)
                if value == (result.type.isArray ? unwritten : UInt64(CRAFT_UNWRITTEN)) {
                    outcome.unwritten.append(index)
                } else if result.type.element == .f64, !Double(bitPattern: value).isFinite {
                    outcome.nonFinite.append(index)
                }
            }
        }
        return outcome
    }
}
