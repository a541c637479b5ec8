@preconcurrency import CFFI
import PluginAPI

/// The argument slots of a hook and the libffi call interface over them, built once and used for every call.
///
/// Each argument takes one 8-byte slot; `values[i]` points at slot i, as `ffi_call` wants it.
final class CallFrame {
    let slots: UnsafeMutablePointer<craft_slot>
    let count: Int
    let interface: UnsafeMutablePointer<ffi_cif>
    private let types: UnsafeMutablePointer<UnsafeMutablePointer<ffi_type>?>
    private let values: UnsafeMutablePointer<UnsafeMutableRawPointer?>
    /// `self` and the error slot, which surround the declared arguments.
    private let ends: UnsafeMutablePointer<UnsafeMutableRawPointer?>

    /// - Parameter codes: one character per argument (`craft_signature_hash`).
    init(codes: String) {
        let codes = Array(codes)
        count = codes.count
        slots = .allocate(capacity: max(count, 1))
        slots.initialize(repeating: craft_slot(), count: max(count, 1))
        interface = .allocate(capacity: 1)
        interface.initialize(to: ffi_cif())
        types = .allocate(capacity: count + 2)
        values = .allocate(capacity: count + 2)
        ends = .allocate(capacity: 2)
        ends.initialize(repeating: nil, count: 2)

        let pointer = withUnsafeMutablePointer(to: &ffi_type_pointer) { $0 }
        let double = withUnsafeMutablePointer(to: &ffi_type_double) { $0 }
        let integer = withUnsafeMutablePointer(to: &ffi_type_sint64) { $0 }
        types.initialize(repeating: pointer, count: count + 2)
        values.initialize(repeating: nil, count: count + 2)
        values[0] = UnsafeMutableRawPointer(ends)
        values[count + 1] = UnsafeMutableRawPointer(ends + 1)
        for (index, code) in codes.enumerated() {
            if code == "d" { types[index + 1] = double }
            if code == "l" { types[index + 1] = integer }
            values[index + 1] = UnsafeMutableRawPointer(slots + index)
        }
        let status = ffi_prep_cif(
            interface, FFI_DEFAULT_ABI, UInt32(count + 2), withUnsafeMutablePointer(to: &ffi_type_sint32) { $0 }, types)
        // Fails only for malformed type descriptions, and these three are libffi's own.
        precondition(status == FFI_OK, "libffi rejected a call of \(count + 2) arguments with status \(status)")
    }

    deinit {
        slots.deallocate()
        interface.deallocate()
        types.deallocate()
        values.deallocate()
        ends.deallocate()
    }

    /// Calls the function with what the slots hold; returns its status.
    ///
    /// - Parameter copy: where a frame function finds a copy of the slots; the slots themselves when `nil`.
    func call(
        _ hook: PluginLibrary.Hook, _ instance: UnsafeMutableRawPointer?, _ error: UnsafeMutablePointer<craft_error>,
        slots copy: UnsafePointer<craft_slot>? = nil
    ) -> Int32 {
        if hook.isFrame {
            let function = unsafeBitCast(hook.function.address, to: craft_frame_function.self)
            return function(instance, hook.function.context, copy ?? UnsafePointer(slots), error)
        }
        return callNative(hook.function.address, instance, error)
    }

    /// Calls a function that takes the arguments natively.
    func callNative(
        _ address: @escaping craft_function, _ instance: UnsafeMutableRawPointer?,
        _ error: UnsafeMutablePointer<craft_error>?
    ) -> Int32 {
        ends[0] = instance
        ends[1] = error.map { UnsafeMutableRawPointer($0) }
        // libffi widens an integer result to a register.
        var status: ffi_arg = 0
        ffi_call(interface, address, &status, values)
        return Int32(truncatingIfNeeded: status)
    }
}
