internal import Formats
internal import Foundation
internal import Models
internal import Tensors

/// A part of the model whose learning rate can be set by itself.
package enum ParameterGroup: String, Sendable, CaseIterable {
    /// The vision towers.
    case vision
    /// From the towers' width to the decoder's.
    case projector
    /// The language model, embeddings and head included.
    case decoder
    /// The action queries.
    case queries
    /// The action head.
    case policy
    /// The proprioception projector.
    case proprio

    /// The group of a parameter by its name in checkpoints, that of an adapter being its layer's.
    package init?(of name: String) {
        switch ModelPart(of: name) {
        case .featurizer, .fusedFeaturizer: self = .vision
        case .projector: self = .projector
        case .languageModel: self = .decoder
        case .actionQueries: self = .queries
        case .actionHead: self = .policy
        case .proprioProjector: self = .proprio
        case nil: return nil
        }
    }
}

/// Factors on the learning rate by parameter group, as PyTorch's parameter groups have rates of their own.
package struct LearningRateScales: Sendable, Equatable, Codable {
    /// By group name; 1 where none is given.
    package private(set) var factors: [String: Double] = [:]

    package init() {}

    /// As an object of factors by group.
    package init(from decoder: any Decoder) throws {
        factors = try decoder.singleValueContainer().decode([String: Double].self)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(factors)
    }

    /// Reads `vision=0.1,decoder=0.3`. Throws ``TrainingError``.
    package init(parsing text: String) throws {
        for item in text.split(separator: ",", omittingEmptySubsequences: false) {
            let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                .map { $0.trimmingPrefix { $0 == " " } }
            guard parts.count == 2, let factor = Double(parts[1]) else {
                throw TrainingError(
                    .settings,
                    "`learningRateScales` has '\(item)'; expected group=factor, such as vision=0.1,decoder=0.3")
            }
            let group = String(parts[0])
            guard factors[group] == nil else {
                throw TrainingError(.settings, "`learningRateScales` names \(group) twice")
            }
            factors[group] = factor
        }
        try check("`learningRateScales`")
    }

    /// Refuses groups that there are none of, and factors that cannot work.
    func check(_ source: String) throws {
        for (group, factor) in factors.sorted(by: { $0.key < $1.key }) {
            guard ParameterGroup(rawValue: group) != nil else {
                throw TrainingError(
                    .settings,
                    "\(source) names '\(group)'; the groups are "
                        + ParameterGroup.allCases.map(\.rawValue).joined(separator: ", "))
            }
            guard factor.isFinite, (0...1000).contains(factor) else {
                throw TrainingError(.settings, "\(source) has \(factor) for \(group); expected 0 to 1000")
            }
        }
    }

    /// Multiplies the factor of a group.
    mutating func scale(_ group: String, by factor: Double) { factors[group, default: 1] *= factor }

    /// The factor of every parameter, by id.
    ///
    /// - Parameter planned: further factors by group name, of plugins.
    func byParameter(of parameters: ParameterSet, times planned: [String: Double] = [:]) throws -> [Double] {
        var scales = self
        for (group, factor) in planned { scales.scale(group, by: factor) }
        try scales.check("lr_scale (from `learningRateScales` and plugins)")
        return parameters.parameters.map { ParameterGroup(of: $0.name).flatMap { scales.factors[$0.rawValue] } ?? 1 }
    }
}

extension TrainingStep {
    /// The rate of every parameter group that is trained, for the terminal; empty when all groups have the same.
    func learningRateLines(base: Double) -> [String] {
        guard rateScales.contains(where: { $0 != 1 }) else { return [] }
        var lines = ["Learning rates"]
        for group in ParameterGroup.allCases {
            let members = model.parameters.parameters.filter { $0.isTrainable && ParameterGroup(of: $0.name) == group }
            guard let first = members.first else { continue }
            let scale = rateScales[first.id]
            lines.append(
                "  \(group.rawValue.padding(toLength: 11, withPad: " ", startingAt: 0))\(base * scale)"
                    + (scale == 1 ? "" : "  (\(scale) x \(base))"))
        }
        return lines + [""]
    }
}
