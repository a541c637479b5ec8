/// Every tensor that a checkpoint of an architecture holds, in the order of the released files: those that craft computes
/// with and those that only travel along (a tower's last block, final norm and pooling head, an unused FiLM layer).
package struct CheckpointLayout: Sendable {
    package struct Entry: Sendable {
        package let name: String
        package let shape: [Int]
        package let part: ModelPart
        /// Whether the model computes with it.
        package let isUsed: Bool
        /// What it holds in a fresh model.
        let fresh: FreshValues

        package var count: Int { shape.reduce(1, *) }
    }

    /// A linear layer of the vision-language model, or the convolution over patches: what PEFT's `all-linear` adapts.
    package struct Module: Sendable {
        package let name: String
        /// Shape of the weight, [outputs, inputs...].
        package let weightShape: [Int]

        package func adapterShapes(rank: Int) -> (a: [Int], b: [Int]) {
            let inputs = Array(weightShape.dropFirst())
            return ([rank] + inputs, [weightShape[0], rank] + (inputs.count > 1 ? [1, 1] : []))
        }

        /// The last component of the name, by which `target_modules` lists modules.
        package var baseName: String {
            String(name[(name.lastIndex(of: ".").map(name.index(after:)) ?? name.startIndex)...])
        }
    }

    package let entries: [Entry]
    package let modules: [Module]
    /// Where each entry is, by name.
    private let index: [String: Int]

    init(entries: [Entry], modules: [Module]) {
        (self.entries, self.modules) = (entries, modules)
        index = Dictionary(uniqueKeysWithValues: entries.enumerated().map { ($1.name, $0) })
    }

    /// What the modules of a model declare.
    package init(_ config: ModelConfig) {
        let declarations = Declarations()
        _ = ModelModules(config, fineTuning: .full, declaring: declarations, parameters: nil)
        self = declarations.layout
    }

    package subscript(name: String) -> Entry? { index[name].map { entries[$0] } }

    package func entries(of part: ModelPart) -> [Entry] { entries.filter { $0.part == part } }

    /// Values in the adapters of `modules`, or of all of them.
    package func adapterCount(rank: Int, modules selected: Set<String>? = nil) -> Int {
        modules.reduce(0) { total, module in
            guard selected?.contains(module.name) ?? true else { return total }
            let (a, b) = module.adapterShapes(rank: rank)
            return total + a.reduce(1, *) + b.reduce(1, *)
        }
    }
}
