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
}

/// The name of a tensor of an adapter: `base_model.model.<module>.lora_A.weight`.
package struct AdapterKey {
    /// What PEFT puts before a module's name.
    static let prefix = "base_model.model."

    /// The two factors of an update B A.
    enum Factor: String, CaseIterable {
        case a = "A"
        case b = "B"

        fileprivate var suffix: String { ".lora_\(rawValue).weight" }
    }

    let module: String
    let factor: Factor

    init?(_ name: String) {
        guard let rest = name.removingPrefix(Self.prefix) else { return nil }
        guard let factor = Factor.allCases.first(where: { rest.hasSuffix($0.suffix) && rest.count > $0.suffix.count })
        else { return nil }
        (module, self.factor) = (String(rest.dropLast(factor.suffix.count)), factor)
    }

    static func name(of module: String, _ factor: Factor) -> String { prefix + module + factor.suffix }

    /// A tensor's name without PEFT's prefix, if it has that.
    package static func layer<Name: StringProtocol>(of name: Name) -> Name.SubSequence {
        name.hasPrefix(prefix) ? name.dropFirst(prefix.count) : name[...]
    }
}
