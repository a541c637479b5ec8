import GradientMath
public import PluginAPI
import PluginKit

/// Independent component alignment: the gradients' principal components are scaled to one length, so that no objective
/// dominates.
///
///     G = V L V'        w = sqrt(scale) V L^(-1/2) V' u
///
/// over the eigenvalues that are not zero; `scale` is the least of them, their median or their mean.
final class AlignedMTL: GramStrategy {
    enum ScaleMode: String, SettingChoice { case min, median, rmse }

    static let description = PluginDescription(
        id: "craft.AlignedMTL", version: "1.0.0",
        summary: "Scales the gradients' principal components to one length before combining them.",
        formula: """
            G = V L V'         w = sqrt(scale) V L^(-1/2) V' u
            """,
        reference: "Senushkin et al., Independent Component Alignment for Multi-Task Learning (arXiv 2305.19000).")

    static let scaleMode = Parameter(
        "scale_mode", default: ScaleMode.min,
        "Length of the components: the least, the median, or the root mean square.")
    static let preference = Parameter(
        "preference", default: Preference.mean, "What u is: the incoming weights, or these over their sum.")
    static var parameters: [any AnyParameter] { [scaleMode, preference, BlockScope.parameter] }
    static let hooks = gramHooks

    let scope: BlockScope
    private let scaleMode: ScaleMode
    private let preference: Preference

    init(settings: Settings) throws {
        scope = try settings(BlockScope.parameter)
        scaleMode = try settings(Self.scaleMode)
        preference = try settings(Self.preference)
    }

    func weights(_ gram: Gram, _ incoming: [Double], block: Int) -> [Double] {
        let preferred = preference.vector(incoming)
        let aligned = gram.applySpectrum(to: gram.rows.map { preferred[$0] }) { values in
            // At least one: there is a gradient that is not zero.
            let rank = values.count
            let scale =
                switch scaleMode {
                case .min: values[rank - 1]
                // The lower of the two middle ones, as published code has it; values descend.
                case .median: values[rank / 2]
                case .rmse: values.reduce(0, +) / Double(rank)
                }
            return values.map { (scale / $0).squareRoot() }
        }
        return gram.rows.isEmpty ? preferred : gram.merging(aligned, into: preferred.map { _ in 0 })
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: AlignedMTL.self) }
