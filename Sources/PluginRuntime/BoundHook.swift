@preconcurrency import CFFI
import Glibc
import PluginAPI

/// An input or a result of a hook under its concrete name.
public struct HookArgument: Sendable, CustomStringConvertible {
    /// Without `@prev`.
    public let name: String
    public let type: ValueType
    public let isOptional: Bool
    /// Whether it is the last step's value that is read.
    public let isPrevious: Bool

    public var description: String { "\(name)\(isPrevious ? "@prev" : ""): \(type)\(isOptional ? "?" : "")" }
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
    private let frame: CallFrame
    private let adapted: AdaptedCall?
    private var arrays: [ArrayCell?]
    private let scalars: UnsafeMutablePointer<craft_slot>
    private let error: UnsafeMutablePointer<craft_error>

    /// Left in a scalar result before a call; still there afterwards means that the plugin did not write it. A NaN with
    /// a payload no computation produces.
    private static let unwritten = UInt64(CRAFT_UNWRITTEN)

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

    /// Calls the hook with inputs from `values` and stores its results there.
    ///
    /// - Parameters:
    ///   - shapeSource: for a result whose shape another value prescribes, that value's name.
    ///   - keepsNonFinite: whether results that are not finite are stored like others instead of ending the call.
    func call(
        _ instancePointer: UnsafeMutableRawPointer?, values: ValueStore, step: Int, shapeSource: (String) -> String?,
        keepsNonFinite: Bool = false
    ) throws(PluginFailure) {
        let sizes = try bindInputs(values, step)
        try prepareResults(values, sizes, step, shapeSource)
        error.pointee = craft_error()
        error.pointee.struct_size = UInt32(MemoryLayout<craft_error>.size)
        CrashReport.enter(crashLabel, step: step)
        let status = adapted?.call(instancePointer, error) ?? frame.call(hook, instancePointer, error)
        CrashReport.leave()
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

    /// Fills the input slots; returns the size each axis name is bound to and the input that bound it.
    private func bindInputs(
        _ values: ValueStore, _ step: Int
    ) throws(PluginFailure) -> [String: (size: Int, from: String)] {
        var sizes: [String: (size: Int, from: String)] = [:]
        for (index, input) in inputs.enumerated() {
            guard let value = values.value(input.name, isPrevious: input.isPrevious) else {
                guard input.isOptional else {
                    throw failure(step, "the host has no value for its input '\(input.description)'")
                }
                frame.slots[index].array = nil
                continue
            }
            switch (value, input.type.axes, input.type.element) {
            case (.f64(let number), nil, .f64):
                if input.isOptional {
                    scalars[index].f64 = number
                    frame.slots[index].optional_f64 = UnsafeRawPointer(scalars + index).assumingMemoryBound(
                        to: Double.self)
                } else {
                    frame.slots[index].f64 = number
                }
            case (.i64(let number), nil, .i64):
                if input.isOptional {
                    scalars[index].i64 = number
                    frame.slots[index].optional_i64 = UnsafeRawPointer(scalars + index).assumingMemoryBound(
                        to: Int64.self)
                } else {
                    frame.slots[index].i64 = number
                }
            case (.array(let view), let axes?, let element)
            where view.element == element && view.shape.count == axes.count:
                try bind(view, axes, input, &sizes, step)
                guard let cell = arrays[index] else { continue }
                cell.point(to: view.pointer, shape: view.shape, flags: UInt64(CRAFT_ARRAY_READ_ONLY))
                frame.slots[index].array = UnsafePointer(cell.view)
            default:
                throw failure(step, "its input '\(input.description)' was given as \(value.type)")
            }
        }
        return sizes
    }

    /// Checks one array's sizes against those already bound. A mismatch names both arrays.
    private func bind(
        _ view: ArrayView, _ axes: [String], _ input: Argument, _ sizes: inout [String: (size: Int, from: String)],
        _ step: Int
    ) throws(PluginFailure) {
        for (axis, size) in zip(axes, view.shape) {
            if let fixed = Int(axis) {
                guard fixed == size else {
                    throw failure(
                        step, "its input '\(input.description)' must have \(fixed) there, the array is \(view.shape)")
                }
            } else if let bound = sizes[axis] {
                guard bound.size == size else {
                    throw failure(
                        step,
                        "axis '\(axis)' is \(bound.size) in '\(bound.from)' but \(size) in '\(input.name)' "
                            + "(shape \(view.shape))")
                }
            } else {
                sizes[axis] = (size, input.name)
            }
        }
    }

    // MARK: - Results

    private func prepareResults(
        _ values: ValueStore, _ sizes: [String: (size: Int, from: String)], _ step: Int,
        _ shapeSource: (String) -> String?
    ) throws(PluginFailure) {
        for (offset, result) in results.enumerated() {
            let index = inputs.count + offset
            guard let cell = arrays[index], let axes = result.type.axes else {
                scalars[index].i64 = Int64(bitPattern: Self.unwritten)
                frame.slots[index].f64_result = UnsafeMutableRawPointer(scalars + index)
                    .assumingMemoryBound(to: Double.self)
                continue
            }
            var shape: [Int] = []
            for axis in axes {
                guard let size = Int(axis) ?? sizes[axis]?.size else { break }
                shape.append(size)
            }
            guard shape.count == axes.count else {
                // Only an optional result can have an unbound axis: Signature checks it.
                frame.slots[index].array_result = nil
                continue
            }
            if let source = shapeSource(result.name), let expected = values.array(source), expected.shape != shape {
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
            if result.type.isArray {
                if frame.slots[index].array_result != nil, let view = arrays[index]?.arrayView {
                    values.set(result.name, view)
                } else if !inputs.contains(where: { $0.name == result.name && !$0.isPrevious }) {
                    // A chained value that is left out stays what the hook was given.
                    values.remove(result.name)
                }
            } else if isUnwritten(index) {
                values.remove(result.name)
            } else if result.type.element == .f64 {
                values.set(result.name, scalars[index].f64)
            } else {
                values.set(result.name, scalars[index].i64)
            }
        }
    }

    private func isUnwritten(_ index: Int) -> Bool {
        UInt64(bitPattern: scalars[index].i64) == Self.unwritten
    }
}
