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
///     Hook(.postStep, Input<Double>("loss.{objective}"), Output<Double>("lambda.{objective}")) { rule, loss, lambda in
///         lambda.value = rule.next(loss)
///     }
///
/// Signature, hash and the closure's parameters come from the same arguments: they cannot disagree. A type the ABI does
/// not have, such as `Input<Float>`, does not compile.
public struct Hook<Owner: Plugin>: Sendable {
    let point: HookPoint
    let signature: String
    let codes: String
    let body: @Sendable (Owner, UnsafePointer<craft_slot>) throws -> Void

    /// - Parameters:
    ///   - arguments: inputs (``Input``) and results (``Output``), at most 24.
    ///   - body: gets the instance, then one value per argument, in the same order.
    public init<each Item: HookArgument>(
        _ point: HookPoint, _ arguments: repeat each Item,
        body: @escaping @Sendable (Owner, repeat (each Item).Value) throws -> Void
    ) {
        self.point = point
        var declared: [(text: String, code: Character, isResult: Bool)] = []
        repeat declared.append(((each arguments).text, (each Item).code, (each Item).isResult))
        let inputs = declared.filter { !$0.isResult }
        let results = declared.filter { $0.isResult }
        signature = inputs.map(\.text).joined(separator: ", ") + " -> " + results.map(\.text).joined(separator: ", ")
        codes = String(inputs.map(\.code) + results.map(\.code))
        let inputCount = inputs.count
        self.body = { owner, slots in
            // The ABI passes inputs before results, whatever order they were declared in.
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

/// An argument of a hook: ``Input`` or ``Output``.
public protocol HookArgument: Sendable {
    /// What the hook's closure gets.
    associatedtype Value
    /// `name: type` as the signature has it.
    var text: String { get }
    /// One character for the type (`craft_signature_hash`).
    static var code: Character { get }
    static var isResult: Bool { get }
    static func value(in slot: craft_slot) -> Value
}

/// A value the hook reads: `Input<Double>`, `Input<Int>`, `Input<ArrayView<Float>>`, or an optional of these for a
/// value that may be absent.
public struct Input<Value: InputValue>: HookArgument {
    public let text: String

    /// - Parameter name: `loss.{objective}`; for an array with its axes, `gram[k,m,m]`.
    public init(_ name: String) {
        text = declaration(of: name, element: Value.elementName, isOptional: Value.isOptionalValue)
    }

    public static var code: Character { Value.inputCode }
    public static var isResult: Bool { false }
    public static func value(in slot: craft_slot) -> Value { Value(inputSlot: slot) }
}

/// A value the hook gives: `Output<Double>`, `Output<Int>`, `Output<MutableArrayView<Float>>`. `Output<Double?>` need not
/// be written; `Output<MutableArrayView<Float>?>` is absent when an absent input leaves its size unknown.
public struct Output<Result: ResultValue>: HookArgument {
    public typealias Value = Result.Target
    public let text: String

    /// - Parameter name: `metric.cosine`; for an array with its axes, `weights[k,m]`.
    public init(_ name: String) {
        text = declaration(of: name, element: Result.elementName, isOptional: Result.isOptionalValue)
    }

    public static var code: Character { Result.resultCode }
    public static var isResult: Bool { true }
    public static func value(in slot: craft_slot) -> Value { Result.target(in: slot) }
}

/// `gram[k,m,m]` and `f64` make `gram: f64[k,m,m]`.
private func declaration(of name: String, element: String, isOptional: Bool) -> String {
    let axesStart = name.firstIndex(of: "[") ?? name.endIndex
    return "\(name[..<axesStart]): \(element)\(name[axesStart...])\(isOptional ? "?" : "")"
}
