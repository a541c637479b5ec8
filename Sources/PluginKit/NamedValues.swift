public import PluginAPI

/// What a hook reads and gives, under names of the plugin's: a struct of `@Input` and `@Output` properties, and of groups of
/// them, which are such structs themselves. Other properties may stand beside them.
///
///     call.weights[block, objective]          reads an array
///     call.next = 0.5                         gives a number
///     call.combined[block, objective] = 1     gives an array
///     call.cosine = nil                       leaves an optional result out
///     call.visual.feature                     a value of the group `visual`
public protocol HookValues: SendableMetatype {}

extension HookValues {
    /// In declared order, those of groups in their group's place.
    var arguments: [any HookArgument] {
        Mirror(reflecting: self).children.flatMap { child -> [any HookArgument] in
            if let argument = child.value as? any HookArgument { return [argument] }
            return (child.value as? any HookValues)?.arguments ?? []
        }
    }
}

/// Where a value with a name finds its slot: set once for an instance, and valid while the instance's hook runs.
public final class SlotBinding: @unchecked Sendable {
    @usableFromInline struct Place {
        /// Where the arguments of the running call are; nil between calls.
        @usableFromInline var call: UnsafeMutablePointer<UnsafePointer<craft_slot>?>?
        @usableFromInline var index = 0
    }

    @usableFromInline let place: UnsafeMutablePointer<Place>

    init() {
        place = .allocate(capacity: 1)
        place.initialize(to: Place())
    }

    deinit { place.deallocate() }

    @inlinable var slot: craft_slot {
        guard let slots = place.pointee.call?.pointee else {
            preconditionFailure("a value of a hook has nothing in it: it is used outside of the hook's call")
        }
        return slots[place.pointee.index]
    }
}

/// The values of one instance's hook.
final class BoundValues<Values: HookValues> {
    private let values: Values
    private let running: UnsafeMutablePointer<UnsafePointer<craft_slot>?>

    init(_ values: Values) {
        self.values = values
        running = .allocate(capacity: 1)
        running.initialize(to: nil)
        let (inputs, results) = values.arguments.inCallOrder
        for (index, argument) in (inputs + results).enumerated() {
            let place = argument.binding.place
            precondition(place.pointee.call == nil, "'\(argument.text)' is in two hooks: each needs values of its own")
            place.pointee = SlotBinding.Place(call: running, index: index)
        }
    }

    deinit { running.deallocate() }

    func call(_ slots: UnsafePointer<craft_slot>, _ body: (Values) throws -> Void) rethrows {
        running.pointee = slots
        defer { running.pointee = nil }
        try body(values)
    }
}
