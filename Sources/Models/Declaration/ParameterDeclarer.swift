internal import Tensors

/// Where the modules of a model declare their tensors, each once: name, shape, first values, and whether the model computes with
/// it. A model makes parameters of what is declared; a ``CheckpointLayout`` only lists it.
///
/// Parameters are numbered as they are declared. Files list tensors in the order of the released ones, PyTorch's
/// `state_dict`, which is the same but where an `order` says otherwise: of the tensors and scopes within one scope those of a
/// lower one come first.
struct ParameterDeclarer {
    private let declarations: Declarations
    /// Where parameters are made; nil when tensors are only listed.
    private let parameters: ParameterSet?
    /// Whether plain tensors may be trained.
    private let isTrainable: Bool
    /// Adapters for linear layers, when the part is fine-tuned by LoRA.
    private let adapters: AdapterSettings?
    /// Whether PEFT's `all-linear` means the part's linear layers.
    private let isAdaptable: Bool
    private var part = ModelPart.featurizer
    private var prefix = ""
    private var draw = LinearDraw.fanIn
    private var isUsed = true
    private var place: [Int] = []

    /// Declares the vision-language model's tensors, or with `isHead` those of the action head and what goes with it.
    init(_ declarations: Declarations, parameters: ParameterSet?, fineTuning: FineTuning, isHead: Bool) {
        self.declarations = declarations
        self.parameters = parameters
        isTrainable = fineTuning == .full || isHead && fineTuning != .frozen
        adapters = if !isHead, case .lowRank(let settings) = fineTuning { settings } else { nil }
        isAdaptable = !isHead
    }

    // MARK: - Scopes

    /// The scope of a part of the model.
    func part(_ part: ModelPart, drawing draw: LinearDraw) -> ParameterDeclarer {
        var scope = self
        (scope.part, scope.prefix, scope.draw) = (part, part.scope, draw)
        scope.place.append(contentsOf: [0, declarations.count])
        return scope
    }

    func scoped(_ name: String) -> ParameterDeclarer {
        var scope = self
        scope.prefix += name + "."
        scope.place.append(contentsOf: [0, declarations.count])
        return scope
    }

    /// The same scope for tensors that are in files and nothing computes with, unless `isUsed`.
    func carried(unless isUsed: Bool = false) -> ParameterDeclarer {
        var scope = self
        scope.isUsed = self.isUsed && isUsed
        return scope
    }

    /// The same scope with linear layers drawn in another way.
    func drawing(_ draw: LinearDraw) -> ParameterDeclarer {
        var scope = self
        scope.draw = draw
        return scope
    }

    // MARK: - Tensors

    /// - Returns: the parameter's id; of a tensor that makes no parameter a number without meaning.
    @discardableResult
    func tensor(
        _ name: String, _ shape: [Int], _ fresh: FreshValues, order: Int = 0, allowsHalf: Bool = false
    ) -> Int {
        declarations.list(
            .init(name: prefix + name, shape: shape, part: part, isUsed: isUsed, fresh: fresh),
            at: place + [order, declarations.count])
        return parameter(prefix + name, shape, fresh, trainable: isTrainable, allowsHalf: allowsHalf)
    }

    /// A matrix whose rows are looked up or multiplied with, which may stay in 16 bits while it is frozen.
    func matrix(_ name: String, _ shape: [Int], order: Int = 0) -> Int {
        tensor(
            name, shape, draw.weight(inputs: shape.dropFirst().reduce(1, *)), order: order, allowsHalf: true)
    }

    /// A linear layer [outputs, inputs...]; a convolution over patches is one with several input dimensions.
    @discardableResult
    func linear(_ name: String, inputs: [Int], outputs: Int, bias: Bool = true, order: Int = 0) -> LinearLayer {
        let module = CheckpointLayout.Module(name: prefix + name, weightShape: [outputs] + inputs)
        if isAdaptable { declarations.list(module, at: place + [order, declarations.count]) }
        let weight = matrix(name + ".weight", module.weightShape, order: order)
        let count = inputs.reduce(1, *)
        let biasID = bias ? tensor(name + ".bias", [outputs], draw.bias(inputs: count), order: order) : nil
        return LinearLayer(weight: weight, bias: biasID, update: isUsed ? update(of: module) : nil)
    }

    @discardableResult
    func linear(_ name: String, inputs: Int, outputs: Int, bias: Bool = true, order: Int = 0) -> LinearLayer {
        linear(name, inputs: [inputs], outputs: outputs, bias: bias, order: order)
    }

    /// LayerNorm's weight and bias.
    @discardableResult
    func norm(_ name: String, _ width: Int, order: Int = 0) -> (weight: Int, bias: Int) {
        (
            tensor(name + ".weight", [width], .one, order: order),
            tensor(name + ".bias", [width], .zero, order: order)
        )
    }

    /// RMSNorm's weight.
    func scale(_ name: String, _ width: Int, order: Int = 0) -> Int {
        tensor(name + ".weight", [width], .one, order: order)
    }

    /// A linear layer that PEFT adapts although no gradient reaches it; its weight is declared apart, if it is stored.
    func unreachedModule(_ name: String, _ weightShape: [Int], order: Int = 0) {
        declarations.list(
            .init(name: prefix + name, weightShape: weightShape), at: place + [order, declarations.count])
    }

    private func update(of module: CheckpointLayout.Module) -> LowRankUpdate? {
        guard let adapters, adapters.modules?.contains(module.name) ?? true else { return nil }
        let (a, b) = module.adapterShapes(rank: adapters.rank)
        return LowRankUpdate(
            a: parameter(
                AdapterKey.name(of: module.name, .a), a, .lowRankA(rank: adapters.rank), trainable: true),
            b: parameter(AdapterKey.name(of: module.name, .b), b, .zero, trainable: true),
            rank: adapters.rank, scale: adapters.scale)
    }

    private func parameter(
        _ name: String, _ shape: [Int], _ fresh: FreshValues, trainable: Bool, allowsHalf: Bool = false
    ) -> Int {
        guard isUsed, let parameters else { return -1 }
        declarations.append(fresh)
        return parameters.declare(name, shape: shape, trainable: trainable, allowsHalf: allowsHalf)
    }
}

/// What the modules of a model have declared so far.
final class Declarations {
    private var entries: [(entry: CheckpointLayout.Entry, place: [Int])] = []
    private var modules: [(module: CheckpointLayout.Module, place: [Int])] = []
    /// First values of every parameter, adapters included, by id.
    private(set) var fresh: [FreshValues] = []

    /// Tensors declared so far.
    var count: Int { entries.count }

    fileprivate func list(_ entry: CheckpointLayout.Entry, at place: [Int]) { entries.append((entry, place)) }
    fileprivate func list(_ module: CheckpointLayout.Module, at place: [Int]) { modules.append((module, place)) }
    fileprivate func append(_ values: FreshValues) { fresh.append(values) }

    /// In the order of the released files.
    var layout: CheckpointLayout {
        CheckpointLayout(
            entries: entries.sorted { $0.place.lexicographicallyPrecedes($1.place) }.map(\.entry),
            modules: modules.sorted { $0.place.lexicographicallyPrecedes($1.place) }.map(\.module))
    }
}
