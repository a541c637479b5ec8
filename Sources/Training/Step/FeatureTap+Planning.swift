internal import Models
internal import PluginRuntime

extension FeatureTap {
    /// The taps that `plan` hooks have asked for and some hook reads.
    ///
    /// - Parameters:
    ///   - states: hidden states of the model.
    ///   - probe: whose taps; nil: those of the batch itself.
    static func planned(
        _ values: ValueStore, composition: Composition, states: Int, probe: String? = nil
    ) throws -> [FeatureTap] {
        let prefix = probe.map { "probe.\($0)." } ?? ""
        var taps: [FeatureTap] = []
        for id in composition.provided(matching: "\(prefix)tap.{id}.layer", capture: "id") {
            let tap = "tap \(id)" + (probe.map { " of probe \($0)" } ?? "")
            guard let layer = values.integer("\(prefix)tap.\(id).layer"), layer != Int64(TapLayer.off) else { continue }
            guard (0..<Int64(states)).contains(layer) || layer == Int64(TapLayer.all) else {
                throw TrainingError(
                    "\(tap) asks for hidden state \(layer); the model has 0 to \(states - 1), "
                        + "\(TapLayer.all) is all layers and \(TapLayer.off) none")
            }
            guard composition.reads("\(prefix)feature.\(id)", at: .preBackward) else { continue }
            let tokens: TapTokens = try values.code("\(prefix)tap.\(id).tokens") ?? .visual
            guard probe == nil || tokens != .queries else {
                throw TrainingError(
                    "\(tap) asks for action queries (\(tokens.rawValue)), which a probe's prompts do not have")
            }
            let pooling: TapPooling = try values.code("\(prefix)tap.\(id).pooling") ?? .mean
            taps.append(
                FeatureTap(name: id, layer: Int(layer), tokens: Tokens(tokens), pooling: Int(pooling.rawValue)))
        }
        return taps
    }
}

extension FeatureTap.Tokens {
    init(_ tokens: TapTokens) {
        self =
            switch tokens {
            case .visual: .visual
            case .visualAndPrompt: .visualAndPrompt
            case .prompt: .prompt
            case .queries: .query
            case .all: .all
            }
    }
}
