internal import Models
package import Tensors

package import enum PluginRuntime.BlockScope

extension BlockScope {
    /// What checkpoints call lists of layers.
    static let layerLists: Set<String> = ["layers", "blocks", "mlp_resnet_blocks"]

    /// The block a parameter belongs to.
    func block(of name: String) -> String {
        switch self {
        case .tensor: return name
        case .global: return "all"
        case .module: return Self.module(of: name)
        case .layer:
            let parts = AdapterKey.layer(of: name).split(separator: ".")
            for (index, part) in parts.enumerated()
            where Self.layerLists.contains(String(part)) && index + 1 < parts.count {
                return parts[0...(index + 1)].joined(separator: ".")
            }
            return Self.module(of: name)
        }
    }

    private static func module(of name: String) -> String {
        ModelPart(of: name)?.rawValue ?? String(AdapterKey.layer(of: name).prefix { $0 != "." })
    }
}

/// The trainable parameters, grouped into blocks.
package struct ParameterBlocks: Sendable {
    package struct Block: Sendable {
        package let name: String
        /// Trainable parameters in the block.
        package let parameters: [Parameter]
        /// Values in the block.
        package var count: Int { parameters.reduce(0) { $0 + $1.count } }
    }

    package let blocks: [Block]

    package init(of parameters: ParameterSet, scope: BlockScope) {
        var order: [String] = []
        var members: [String: [Parameter]] = [:]
        for parameter in parameters.parameters where parameter.isTrainable {
            let name = scope.block(of: parameter.name)
            if members[name] == nil { order.append(name) }
            members[name, default: []].append(parameter)
        }
        blocks = order.map { Block(name: $0, parameters: members[$0] ?? []) }
    }
}
