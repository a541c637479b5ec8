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
            guard let layer = values.integer("\(prefix)tap.\(id).layer"), layer != -1 else { continue }
            guard (0..<Int64(states)).contains(layer) || layer == Int64(allLayers) else {
                throw TrainingError(
                    "\(tap) asks for hidden state \(layer); the model has 0 to \(states - 1), "
                        + "\(allLayers) is all layers and -1 none")
            }
            guard composition.reads("\(prefix)feature.\(id)", at: .preBackward) else { continue }
            let tokens = values.integer("\(prefix)tap.\(id).tokens") ?? 0
            guard let kind = Tokens(rawValue: Int(tokens)) else {
                throw TrainingError("\(tap) asks for token set \(tokens); there are 0 to 4")
            }
            guard probe == nil || kind != .query else {
                throw TrainingError("\(tap) asks for action queries (3), which a probe's prompts do not have")
            }
            let pooling = values.integer("\(prefix)tap.\(id).pooling") ?? 1
            guard (0...2).contains(pooling) else {
                throw TrainingError("\(tap) asks for pooling \(pooling); there are 0 (none), 1 (mean) and 2 (max)")
            }
            taps.append(FeatureTap(name: id, layer: Int(layer), tokens: kind, pooling: Int(pooling)))
        }
        return taps
    }
}
