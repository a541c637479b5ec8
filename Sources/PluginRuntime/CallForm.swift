@preconcurrency import CFFI
import PluginAPI

/// How the host calls a hook. Both forms pass the same arguments; a plugin declares which one its function has.
package enum CallForm: String, Sendable, CaseIterable {
    /// As the plugin declares.
    case declared
    /// With native arguments, through libffi. A frame function is put behind a closure that packs them into slots.
    case native
    /// With an array of slots. A native function is put behind one that unpacks them.
    case frame
}

/// A hook called in the form it does not have.
final class AdaptedCall {
    private let frame: CallFrame
    private let address: craft_function
    /// For a frame function: the closure that takes native arguments, and the address it is called at.
    private let closure: UnsafeMutablePointer<ffi_closure>?
    private let target: Target

    /// What the closure calls.
    private final class Target {
        let hook: PluginLibrary.Hook
        let count: Int

        init(_ hook: PluginLibrary.Hook, count: Int) {
            self.hook = hook
            self.count = count
        }
    }

    /// `nil` when the hook has the wanted form itself.
    init?(_ hook: PluginLibrary.Hook, _ frame: CallFrame, form: CallForm) {
        guard form == .native && hook.isFrame || form == .frame && !hook.isFrame else { return nil }
        self.frame = frame
        target = Target(hook, count: frame.count)
        guard hook.isFrame else {
            (address, closure) = (hook.function.address, nil)
            return
        }
        var code: UnsafeMutableRawPointer?
        guard let memory = ffi_closure_alloc(MemoryLayout<ffi_closure>.size, &code), let code else {
            preconditionFailure("the system gives no executable memory for a libffi closure")
        }
        let closure = memory.assumingMemoryBound(to: ffi_closure.self)
        let status = ffi_prep_closure_loc(
            closure, frame.interface, Self.pack, Unmanaged.passUnretained(target).toOpaque(), code)
        precondition(status == FFI_OK, "libffi rejected a closure with status \(status)")
        self.closure = closure
        address = unsafeBitCast(code, to: craft_function.self)
    }

    deinit { if let closure { ffi_closure_free(closure) } }

    /// Native arguments arrive; a frame function gets them in slots.
    private static let pack:
        @convention(c) (
            UnsafeMutablePointer<ffi_cif>?, UnsafeMutableRawPointer?, UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
            UnsafeMutableRawPointer?
        ) -> Void = { _, result, arguments, user in
            guard let result, let arguments, let user else { return }
            let target = Unmanaged<Target>.fromOpaque(user).takeUnretainedValue()
            let function = unsafeBitCast(target.hook.function.address, to: craft_frame_function.self)
            let status = withUnsafeTemporaryAllocation(of: craft_slot.self, capacity: max(target.count, 1)) { slots in
                for index in 0..<target.count {
                    guard let value = arguments[index + 1] else { continue }
                    slots[index] = value.load(as: craft_slot.self)
                }
                return function(
                    arguments[0]?.load(as: UnsafeMutableRawPointer?.self), target.hook.function.context,
                    slots.baseAddress, arguments[target.count + 1]?.load(as: UnsafeMutablePointer<craft_error>?.self))
            }
            // A result narrower than a register is stored as a whole one.
            result.storeBytes(of: ffi_sarg(status), as: ffi_sarg.self)
        }

    /// A frame arrives; a native function gets its slots as arguments.
    private static let unpack: craft_frame_function = { instance, context, slots, error in
        guard let context, let slots else { return CRAFT_FAILED }
        let call = Unmanaged<AdaptedCall>.fromOpaque(context).takeUnretainedValue()
        call.frame.slots.update(from: slots, count: call.frame.count)
        return call.frame.callNative(call.address, instance, error)
    }

    /// Calls the function with what the frame's slots hold; returns its status.
    func call(_ instance: UnsafeMutableRawPointer?, _ error: UnsafeMutablePointer<craft_error>) -> Int32 {
        if target.hook.isFrame { return frame.callNative(address, instance, error) }
        return withUnsafeTemporaryAllocation(of: craft_slot.self, capacity: max(frame.count, 1)) { copy in
            guard let start = copy.baseAddress else { return CRAFT_FAILED }
            start.initialize(from: frame.slots, count: frame.count)
            // Emptied, so that what the function sees went through the array of slots.
            frame.slots.update(repeating: craft_slot(), count: frame.count)
            return Self.unpack(instance, Unmanaged.passUnretained(self).toOpaque(), start, error)
        }
    }
}
