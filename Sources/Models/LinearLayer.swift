import Tensors

/// A linear layer's parameters, with its low-rank update when there is one.
struct LinearLayer {
    let weight: Int
    let bias: Int?
    let update: LowRankUpdate?

    /// - `usesUpdate`: false leaves a low-rank update out, which is the base model.
    func callAsFunction(_ x: Tensor, on run: ForwardRun, residual: Tensor? = nil) -> Tensor {
        run.tape.linear(x, weight: weight, bias: bias, residual: residual, update: run.usesAdapters ? update : nil)
    }
}

/// What the layers of one forward pass share.
struct ForwardRun {
    let tape: Tape
    /// Whether low-rank updates take part; without them the base model runs.
    let usesAdapters: Bool
}

/// Declares the parameters of a model part under their checkpoint names.
struct ParameterDeclarer {
    let parameters: ParameterSet
    let prefix: String
    /// Whether plain tensors may be trained.
    let isTrainable: Bool
    /// Adapters for linear layers, when the part is fine-tuned by LoRA.
    let adapters: AdapterSettings?

    func scoped(_ name: String) -> ParameterDeclarer {
        ParameterDeclarer(
            parameters: parameters, prefix: prefix + name + ".", isTrainable: isTrainable, adapters: adapters)
    }

    func tensor(_ name: String, _ shape: [Int]) -> Int {
        parameters.declare(prefix + name, shape: shape, trainable: isTrainable)
    }

    /// A matrix whose rows are looked up or multiplied with, which may stay in 16 bits while it is frozen.
    func matrix(_ name: String, _ shape: [Int]) -> Int {
        parameters.declare(prefix + name, shape: shape, trainable: isTrainable, allowsHalf: true)
    }

    /// A linear layer [outputs, inputs...]; a convolution over patches is one with several input dimensions.
    func linear(_ name: String, inputs: [Int], outputs: Int, bias: Bool) -> LinearLayer {
        let weight = matrix(name + ".weight", [outputs] + inputs)
        let biasID = bias ? tensor(name + ".bias", [outputs]) : nil
        let update = adapters.flatMap { settings -> LowRankUpdate? in
            guard settings.modules?.contains(prefix + name) ?? true else { return nil }
            let isConvolution = inputs.count > 1
            let base = AdapterSettings.prefix + prefix + name
            return LowRankUpdate(
                a: parameters.declare(
                    base + ".lora_A.weight", shape: [settings.rank] + inputs, trainable: true),
                b: parameters.declare(
                    base + ".lora_B.weight", shape: [outputs, settings.rank] + (isConvolution ? [1, 1] : []),
                    trainable: true),
                rank: settings.rank, scale: settings.scale)
        }
        return LinearLayer(weight: weight, bias: biasID, update: update)
    }

    func linear(_ name: String, inputs: Int, outputs: Int, bias: Bool = true) -> LinearLayer {
        linear(name, inputs: [inputs], outputs: outputs, bias: bias)
    }

    func norm(_ name: String, _ width: Int) -> (weight: Int, bias: Int) {
        (tensor(name + ".weight", [width]), tensor(name + ".bias", [width]))
    }
}

/// Low-rank adaptation (Hu et al. 2021) in PEFT's terms: the update of a linear layer is `alpha / rank * B A`.
package struct AdapterSettings: Sendable, Equatable, Codable {
    package var rank: Int
    package var alpha: Double
    /// Names of the adapted modules; nil means every linear layer and patch convolution, PEFT's `all-linear`.
    package var modules: [String]?

    package init(rank: Int, alpha: Double, modules: [String]? = nil) {
        self.rank = rank
        self.alpha = alpha
        self.modules = modules
    }

    package var scale: Float { Float(alpha / Double(rank)) }

    /// What PEFT puts before a module's name.
    static let prefix = "base_model.model."
}
