/// Tensor and parameter counts of an architecture, from its configuration alone.
package struct ModelCounts: Sendable, Codable {
    package struct Count: Sendable, Codable, Equatable {
        package var tensors = 0
        package var parameters = 0

        package init(tensors: Int = 0, parameters: Int = 0) {
            (self.tensors, self.parameters) = (tensors, parameters)
        }

        init(_ entries: [CheckpointLayout.Entry]) {
            self.init(tensors: entries.count, parameters: entries.reduce(0) { $0 + $1.count })
        }

        static func + (a: Count, b: Count) -> Count {
            Count(tensors: a.tensors + b.tensors, parameters: a.parameters + b.parameters)
        }
    }

    /// Parts of the vision-language model, in file order.
    package var parts: [String: Count]
    package var backbone: Count
    package var basePolicy: Count
    package var proPolicy: Count
    package var proprioProjector: Count
    package var actionQueries: Count
    /// Adapters on every linear layer, by the rank asked for.
    package var rank: Int
    package var adapter: Count
    /// What the optimizer changes: adapters, action queries, policy and proprioception projector.
    package var trainableBase: Int { trainable(basePolicy) }
    package var trainablePro: Int { trainable(proPolicy) }

    package init(_ config: ModelConfig, rank: Int) {
        func layout(pro: Bool) -> CheckpointLayout {
            var variant = config
            variant.policy.pro = pro
            return CheckpointLayout(variant)
        }
        let (base, pro) = (layout(pro: false), layout(pro: true))
        self.rank = rank
        parts = [:]
        for part in ModelPart.allCases where part.isBackbone {
            let count = Count(base.entries(of: part))
            if count.tensors > 0 { parts[part.rawValue] = count }
        }
        backbone = parts.values.reduce(Count(), +)
        basePolicy = Count(base.entries(of: .actionHead))
        proPolicy = Count(pro.entries(of: .actionHead))
        proprioProjector = Count(base.entries(of: .proprioProjector))
        actionQueries = Count(base.entries(of: .actionQueries))
        adapter = Count(tensors: 2 * base.modules.count, parameters: base.adapterCount(rank: rank))
    }

    private func trainable(_ policy: Count) -> Int {
        adapter.parameters + actionQueries.parameters + policy.parameters + proprioProjector.parameters
    }

    /// A table for the terminal.
    package var lines: [String] {
        var rows: [(String, Count)] = ModelPart.allCases.compactMap { part in
            parts[part.rawValue].map { ("  " + part.rawValue, $0) }
        }
        rows.append(("vision-language model", backbone))
        rows.append(("action head, base", basePolicy))
        rows.append(("action head, Pro", proPolicy))
        rows.append(("proprio projector", proprioProjector))
        rows.append(("LoRA adapter, r = \(rank)", adapter))
        return [Self.line("part", "tensors", "parameters")]
            + rows.map { Self.line($0.0, String($0.1.tensors), String($0.1.parameters)) } + [
                Self.line("trainable with LoRA, base head", "", String(trainableBase)),
                Self.line("trainable with LoRA, Pro head", "", String(trainablePro)),
            ]
    }

    static func line(_ name: String, _ tensors: String, _ parameters: String) -> String {
        func right(_ text: String, _ width: Int) -> String {
            String(repeating: " ", count: max(1, width - text.count)) + text
        }
        return name + right(tensors, 46 - name.count) + right(parameters, 15)
    }
}
