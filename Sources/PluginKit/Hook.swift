public import PluginAPI

/// Where in a training run a hook is called.
public enum HookPoint: String, Sendable {
    /// Once, before the first step.
    case plan
    /// For every micro-batch, between the forward and the backward pass.
    case preBackward = "pre_backward"
    /// Once per step, when every objective's gradient is known.
    case gradientCombine = "gradient_combine"
    /// Once per step, after the parameters changed.
    case postStep = "post_step"
    /// After an evaluation on held-out data.
    case evaluate
    /// Once, after the last step.
    case finish
}

/// What the plugin does at a point, declared together with what it reads and gives.
///
/// Up to three or four values may be the closure's arguments, in the order they are declared:
///
///     Hook(.plan, Output<BlockScope>("block_scope")) { rule, scope in scope.value = .layer }
///
/// More have names (``HookValues``):
///
///     struct Update: HookValues {
///         @Input("loss.{objective}") var loss: Double
///         @Input("lambda.{objective}") var lambda: Double
///         @Output("lambda.{objective}") var next: Double
///     }
///     Hook(.postStep, values: Update()) { rule, call in call.next = call.lambda + rule.rate * call.loss }
///
/// Signature, hash and the types in the closure come from the same declarations: they cannot disagree, and what is not
/// declared cannot be read. A type the ABI does not have, such as `Input<Float>`, does not compile.
public struct Hook<Owner: Plugin>: Sendable {
    /// Runs the hook on the arguments of one call.
    typealias Body = (Owner, UnsafePointer<craft_slot>) throws -> Void

    let point: HookPoint
    let signature: String
    let codes: String
    /// Made anew for each instance, which is called by one thread at a time.
    let makeBody: @Sendable () -> Body

    private init(_ point: HookPoint, _ arguments: [any HookArgument], makeBody: @escaping @Sendable () -> Body) {
        let (inputs, results) = arguments.inCallOrder
        self.point = point
        signature = inputs.map(\.text).joined(separator: ", ") + " -> " + results.map(\.text).joined(separator: ", ")
        codes = String((inputs + results).map { type(of: $0).code })
        self.makeBody = makeBody
    }

    /// - Parameters:
    ///   - arguments: inputs (``Input``) and results (``Output``), at most 24.
    ///   - body: gets the instance, then one value per argument, in the same order.
    public init<each Item: HookArgument>(
        _ point: HookPoint, _ arguments: repeat each Item,
        body: @escaping @Sendable (Owner, repeat (each Item).Value) throws -> Void
    ) {
        var declared: [any HookArgument] = []
        repeat declared.append(each arguments)
        let inputCount = declared.inCallOrder.inputs.count
        self.init(point, declared) {
            { owner, slots in
                var nextInput = 0
                var nextResult = inputCount
                func slot(_ isResult: Bool) -> craft_slot {
                    defer { if isResult { nextResult += 1 } else { nextInput += 1 } }
                    return slots[isResult ? nextResult : nextInput]
                }
                try body(owner, repeat (each Item).value(in: slot((each Item).isResult)))
            }
        }
    }

    /// - Parameters:
    ///   - values: what the hook reads and gives, at most 24 inputs and results.
    ///   - body: gets the instance, and the values of the call.
    public init<Values: HookValues>(
        _ point: HookPoint, values: @autoclosure @escaping @Sendable () -> Values,
        body: @escaping @Sendable (Owner, Values) throws -> Void
    ) {
        self.init(point, values().arguments) {
            let bound = BoundValues(values())
            return { owner, slots in try bound.call(slots) { try body(owner, $0) } }
        }
    }
}

/// An argument of a hook: ``Input`` or ``Output``.
public protocol HookArgument: Sendable {
    /// What the hook's closure gets.
    associatedtype Value
    /// `name: type` as the signature has it.
    var text: String { get }
    /// One character for the type (`craft_signature_hash`).
    static var code: Character { get }
    /// Whether the hook gives it, rather than reads it.
    static var isResult: Bool { get }
    /// The value in a call.
    static func value(in slot: craft_slot) -> Value
    /// Where it finds its slot, as a value with a name.
    var binding: SlotBinding { get }
}

extension [any HookArgument] {
    /// The ABI passes inputs before results, whatever order they were declared in.
    var inCallOrder: (inputs: [any HookArgument], results: [any HookArgument]) {
        (filter { !type(of: $0).isResult }, filter { type(of: $0).isResult })
    }
}

/// A value the hook reads: a `Double`, an `Int`, an `ArrayView<Float>`, or an optional of these for a value that may be
/// absent.
@propertyWrapper
public struct Input<Value: InputValue>: HookArgument {
    /// The name and type as a signature has them.
    public let text: String
    /// Where in a call the value is; set when the plugin's table is made.
    public let binding = SlotBinding()

    /// - Parameter name: `loss.{objective}`; for an array with its axes, `gram[k,m,m]`.
    public init(_ name: String) {
        text = declaration(of: name, element: Value.elementName, isOptional: Value.isOptionalValue)
    }

    /// The letter by which a call form names the type.
    public static var code: Character { Value.inputCode }
    /// Whether the hook gives it, rather than reads it.
    public static var isResult: Bool { false }
    /// The value in a call.
    public static func value(in slot: craft_slot) -> Value { Value(inputSlot: slot) }

    /// The value in the call that goes on.
    @inlinable public var wrappedValue: Value { Value(inputSlot: binding.slot) }
}

/// A value the hook gives: a `Double`, an `Int`, a ``HookCode`` such as ``BlockScope``, a `MutableArrayView<Float>`. A
/// `Double?` or a `MutableArrayView<Float>?` need not be written; the latter is nil when an absent input leaves its size
/// unknown.
@propertyWrapper
public struct Output<Result: ResultValue>: HookArgument {
    /// What the hook writes to.
    public typealias Value = Result.Target
    /// The name and type as a signature has them.
    public let text: String
    /// Where in a call the value is; set when the plugin's table is made.
    public let binding = SlotBinding()

    /// - Parameter name: `metric.cosine`; for an array with its axes, `weights[k,m]`.
    public init(_ name: String) {
        text = declaration(of: name, element: Result.elementName, isOptional: Result.isOptionalValue)
    }

    /// The letter by which a call form names the type.
    public static var code: Character { Result.resultCode }
    /// Whether the hook gives it, rather than reads it.
    public static var isResult: Bool { true }
    /// The value in a call.
    public static func value(in slot: craft_slot) -> Value { Result.target(in: slot) }

    /// Reads what was written.
    @inlinable public var wrappedValue: Result {
        get { Result.result(in: binding.slot) }
        nonmutating set { Result.give(newValue, in: binding.slot) }
    }
}

/// `gram[k,m,m]` and `f64` make `gram: f64[k,m,m]`.
private func declaration(of name: String, element: String, isOptional: Bool) -> String {
    let axesStart = name.firstIndex(of: "[") ?? name.endIndex
    return "\(name[..<axesStart]): \(element)\(name[axesStart...])\(isOptional ? "?" : "")"
}
