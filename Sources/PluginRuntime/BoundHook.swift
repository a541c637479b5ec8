@preconcurrency import CFFI
import CFloatingPoint
import Glibc
import PluginAPI

/// An input or a result of a hook under its concrete name.
package struct HookArgument: Sendable, CustomStringConvertible {
    /// Without `@prev`.
    package let name: String
    package let type: ValueType
    package let isOptional: Bool
    /// Whether it is the last step's value that is read.
    package let isPrevious: Bool

    package var description: String { "\(name)\(isPrevious ? "@prev" : ""): \(type)\(isOptional ? "?" : "")" }
}

/// One hook of one instance with its names filled in, and everything a call needs prepared once: the libffi call
/// interface, a slot per argument, and reusable memory for results.
final class BoundHook {
    typealias Argument = HookArgument

    let instance: String
    let point: HookPoint
    let inputs: [Argument]
    let results: [Argument]
    let hook: PluginLibrary.Hook
    /// Who to name should the call end the process.
    let crashLabel: CrashReport.Label
    /// The names of ``inputs`` and ``results``, in that order.
    private let names: [ValueName]
    /// By result: the value that prescribes its shape, where one does. Set when the hook joins a list.
    var shapeSources: [ValueName?]
    /// By array argument: each axis as an index into `sizes`, or a fixed size.
    private let axes: [[Axis]]
    /// What each axis of the call is bound to, -1 while nothing is, and the input that bound it.
    private var sizes: [Int]
    private var boundBy: [Int]
    private let frame: CallFrame
    private let adapted: AdaptedCall?
    private var arrays: [ArrayCell?]
    private let scalars: UnsafeMutablePointer<craft_slot>
    private let error: UnsafeMutablePointer<craft_error>

    /// Left in a scalar result before a call; still there afterwards means that the plugin did not write it. A NaN with
    /// a payload no computation produces.
    private static let unwritten = UInt64(CRAFT_UNWRITTEN)

    private enum Axis {
        case fixed(Int)
        case named(Int)
    }

    init(
        instance: String, hook: PluginLibrary.Hook, inputs: [Argument], results: [Argument],
        form: CallForm = .declared
    ) {
        self.instance = instance
        self.hook = hook
        self.inputs = inputs
        self.results = results
        point = hook.point
        crashLabel = CrashReport.Label("plugin \(instance), \(hook.point.rawValue) hook")
        let all = inputs + results
        names = all.map { ValueName($0.name) }
        shapeSources = results.map { _ in nil }
        var known: [String] = []
        axes = all.map { argument in
            (argument.type.axes ?? []).map { axis in
                if let size = Int(axis) { return .fixed(size) }
                if let index = known.firstIndex(of: axis) { return .named(index) }
                known.append(axis)
                return .named(known.count - 1)
            }
        }
        sizes = Array(repeating: -1, count: known.count)
        boundBy = sizes
        frame = CallFrame(codes: hook.signature.codes)
        adapted = AdaptedCall(hook, frame, form: form)
        arrays = all.map { $0.type.isArray ? ArrayCell(type: $0.type) : nil }
        scalars = .allocate(capacity: max(all.count, 1))
        scalars.initialize(repeating: craft_slot(), count: max(all.count, 1))
        error = .allocate(capacity: 1)
        error.initialize(to: craft_error())
    }

    deinit {
        scalars.deallocate()
        error.deallocate()
    }

    /// Whether something that the hook cannot do without is missing.
    func requires(_ isMissing: (ValueName) -> Bool) -> Bool {
        inputs.indices.contains { !inputs[$0].isOptional && isMissing(names[$0]) }
    }

    /// Whether `name` is among the inputs, of this step.
    func reads(_ name: ValueName) -> Bool { inputs.indices.contains { names[$0] == name && !inputs[$0].isPrevious } }

    /// The names of the results, in declared order.
    var resultNames: ArraySlice<ValueName> { names[inputs.count...] }

    /// Calls the hook with inputs from `values` and stores its results there.
    ///
    /// - Parameter keepsNonFinite: whether results that are not finite are stored like others instead of ending the call.
    func call(
        _ instancePointer: UnsafeMutableRawPointer?, values: ValueStore, step: Int, keepsNonFinite: Bool = false
    ) throws(PluginFailure) {
        try bindInputs(values, step)
        try prepareResults(values, step)
        error.pointee = craft_error()
        error.pointee.struct_size = UInt32(MemoryLayout<craft_error>.size)
        let control = craft_fp_control()
        // What is planned belongs to no step.
        CrashReport.enter(crashLabel, step: point == .plan ? -1 : step)
        let status = adapted?.call(instancePointer, error) ?? frame.call(hook, instancePointer, error)
        CrashReport.leave()
        // A hook that computes in its own way must not change how the host computes.
        if craft_fp_control() != control { craft_fp_restore(control) }
        guard status == CRAFT_OK else {
            let message = PluginInstance.message(of: &error.pointee)
            throw failure(step, message.isEmpty ? "it failed with status \(status) and no message" : message)
        }
        try checkResults(step, keepsNonFinite: keepsNonFinite)
        storeResults(values)
    }

    private func failure(_ step: Int, _ message: String, _ kind: PluginFailure.Kind = .error) -> PluginFailure {
        PluginFailure(plugin: instance, point: point, step: step, message: message, kind: kind)
    }

    // MARK: - Inputs

    /// Fills the input slots and binds the axes.
    private func bindInputs(_ values: ValueStore, _ step: Int) throws(PluginFailure) {
        for axis in sizes.indices { sizes[axis] = -1 }
        for (index, input) in inputs.enumerated() {
            guard let value = values.value(names[index], isPrevious: input.isPrevious) else {
                guard input.isOptional else {
                    throw failure(step, "the host has no value for its input '\(input.description)'")
                }
                frame.slots[index].array = nil
                continue
            }
            switch (value, input.type.isArray, input.type.element) {
            case (.f64(let number), false, .f64):
                if input.isOptional {
                    scalars[index].f64 = number
                    frame.slots[index].optional_f64 = UnsafeRawPointer(scalars + index).assumingMemoryBound(
                        to: Double.self)
                } else {
                    frame.slots[index].f64 = number
                }
            case (.i64(let number), false, .i64):
                if input.isOptional {
                    scalars[index].i64 = number
                    frame.slots[index].optional_i64 = UnsafeRawPointer(scalars + index).assumingMemoryBound(
                        to: Int64.self)
                } else {
                    frame.slots[index].i64 = number
                }
            case (.array(let view), true, let element)
            where view.element == element && view.shape.count == axes[index].count:
                try bind(view, index, step)
                guard let cell = arrays[index] else { continue }
                cell.point(to: view.pointer, shape: view.shape, flags: UInt64(CRAFT_ARRAY_READ_ONLY))
                frame.slots[index].array = UnsafePointer(cell.view)
            default:
                throw failure(step, "its input '\(input.description)' was given as \(value.type)")
            }
        }
    }

    /// Checks one array's sizes against those already bound. A mismatch names both arrays.
    private func bind(_ view: ArrayView, _ index: Int, _ step: Int) throws(PluginFailure) {
        for (place, size) in view.shape.enumerated() {
            switch axes[index][place] {
            case .fixed(let fixed):
                guard fixed == size else {
                    throw failure(
                        step,
                        "its input '\(inputs[index].description)' must have \(fixed) there, the array is \(view.shape)")
                }
            case .named(let axis) where sizes[axis] < 0: (sizes[axis], boundBy[axis]) = (size, index)
            case .named(let axis):
                guard sizes[axis] == size else {
                    throw failure(
                        step,
                        "axis '\(inputs[index].type.axes?[place] ?? "")' is \(sizes[axis]) in "
                            + "'\(inputs[boundBy[axis]].name)' but \(size) in '\(inputs[index].name)' "
                            + "(shape \(view.shape))")
                }
            }
        }
    }

    // MARK: - Results

    private func prepareResults(_ values: ValueStore, _ step: Int) throws(PluginFailure) {
        for (offset, result) in results.enumerated() {
            let index = inputs.count + offset
            guard let cell = arrays[index] else {
                scalars[index].i64 = Int64(bitPattern: Self.unwritten)
                frame.slots[index].f64_result = UnsafeMutableRawPointer(scalars + index)
                    .assumingMemoryBound(to: Double.self)
                continue
            }
            var shape: [Int] = []
            for axis in axes[index] {
                switch axis {
                case .fixed(let size): shape.append(size)
                case .named(let axis) where sizes[axis] >= 0: shape.append(sizes[axis])
                case .named: break
                }
            }
            guard shape.count == axes[index].count else {
                // Only an optional result can have an unbound axis: Signature checks it.
                frame.slots[index].array_result = nil
                continue
            }
            if let source = shapeSources[offset], let expected = values.array(source), expected.shape != shape {
                throw failure(
                    step,
                    "its result '\(result.description)' would have shape \(shape), but '\(source)' has \(expected.shape)"
                )
            }
            let isRead = { (memory: UnsafeMutableRawPointer) in
                self.arrays.prefix(self.inputs.count).contains { $0?.view.pointee.data == memory }
            }
            guard cell.allocate(shape: shape, isRead: isRead) else {
                throw failure(step, "there is no memory for its result '\(result.description)' of shape \(shape)")
            }
            frame.slots[index].array_result = cell.view
        }
    }

    /// Everything is checked before anything is stored: a failed hook leaves no half of its results behind.
    private func checkResults(_ step: Int, keepsNonFinite: Bool) throws(PluginFailure) {
        for (offset, result) in results.enumerated() {
            let index = inputs.count + offset
            if result.type.isArray {
                guard frame.slots[index].array_result != nil, let cell = arrays[index] else { continue }
                if result.isOptional, cell.isUntouched {
                    frame.slots[index].array_result = nil
                    continue
                }
                if !keepsNonFinite, let position = cell.firstNonFinite() {
                    guard !cell.isUnwritten(position) else {
                        throw failure(
                            step,
                            cell.isUntouched
                                ? "it did not write its result '\(result.name)'"
                                : "it wrote only a part of its result '\(result.name)': not element \(position) of \(cell.shape)"
                        )
                    }
                    throw failure(
                        step, "its result '\(result.name)' is not finite at element \(position) of \(cell.shape)",
                        .nonFinite(result.name))
                }
            } else if isUnwritten(index) {
                guard result.isOptional else {
                    throw failure(step, "it did not write its result '\(result.name)'")
                }
            } else if !keepsNonFinite, result.type.element == .f64, !scalars[index].f64.isFinite {
                throw failure(
                    step, "its result '\(result.name)' is \(scalars[index].f64), not a finite number",
                    .nonFinite(result.name))
            }
        }
    }

    private func storeResults(_ values: ValueStore) {
        for (offset, result) in results.enumerated() {
            let index = inputs.count + offset
            let name = names[index]
            if result.type.isArray {
                if frame.slots[index].array_result != nil, let view = arrays[index]?.arrayView {
                    values.set(name, view)
                } else if !reads(name) {
                    // A chained value that is left out stays what the hook was given.
                    values.remove(name)
                }
            } else if isUnwritten(index) {
                values.remove(name)
            } else if result.type.element == .f64 {
                values.set(name, scalars[index].f64)
            } else {
                values.set(name, scalars[index].i64)
            }
        }
    }

    private func isUnwritten(_ index: Int) -> Bool {
        UInt64(bitPattern: scalars[index].i64) == Self.unwritten
    }
}
