internal import Models
package import PluginRuntime

/// A further forward pass that a plugin asked for in `plan`: images of the batch, perturbed or not, with the plugin's own
/// prompts, every k-th step. It needs no labels.
struct Probe {
    /// As the plugin calls it.
    let name: String
    /// Steps from one run to the next; 0 never runs.
    let interval: Int
    /// First step in which it runs.
    let start: Int
    /// First step in which it runs no more; nil: it goes on.
    let end: Int?
    /// Token ids of every prompt.
    let prompts: [[Int32]]
    /// Images of a sample: so many of its cameras, drawn for each; 0: all.
    let cameras: Int
    let mixture: PerturbationMixture
    /// Under the names that the probe knows them by.
    let taps: [FeatureTap]
    /// Whether hooks read logits, and what the initial weights make of the same input.
    let readsLogits: Bool
    let readsAnchor: Bool
    /// By tap.
    let tapNames: [TapNames]
    let logits: ValueName
    let anchorLogits: ValueName
    /// Names that have no value in steps in which the probe does not run.
    let absentNames: [ValueName]

    struct TapNames {
        let feature: ValueName
        let anchor: ValueName
        let mask: ValueName

        init(_ tap: String, of probe: String) {
            feature = ValueName("probe.\(probe).feature.\(tap)")
            anchor = ValueName("probe.\(probe).anchor.\(tap)")
            mask = ValueName("probe.\(probe).mask.\(tap)")
        }

        var all: [ValueName] { [feature, anchor, mask] }
    }

    init(_ request: ProbeRequest, encode: PromptEncoding) throws {
        name = request.name
        interval = request.interval
        start = request.start
        end = request.end
        prompts = try request.prompts.map { try encode($0, request.template) }
        cameras = request.cameras
        mixture = PerturbationMixture(shares: Perturbation.allCases.map { request.shares[$0.rawValue] ?? 0 })
        taps = request.taps.map(FeatureTap.init)
        readsLogits = request.readsLogits
        readsAnchor = request.readsAnchor
        tapNames = taps.map { TapNames($0.name, of: request.name) }
        logits = ValueName("probe.\(name).logits")
        anchorLogits = ValueName("probe.\(name).anchor_logits")
        // Taps that are turned off or that no hook reads have no values in an absent probe either.
        let others = request.interval == 0 ? request.otherTaps.map { TapNames($0, of: request.name) } : []
        absentNames = (tapNames + others).flatMap(\.all) + [logits, anchorLogits]
    }

    /// Whether it runs in step `step`.
    func isDue(_ step: Int) -> Bool {
        interval > 0 && step >= start && step < end ?? .max && (step - start) % interval == 0
    }

    func name(_ value: String) -> String { "probe.\(name).\(value)" }
}

/// Turns a probe's text, in one of the model's prompts, into token ids.
package typealias PromptEncoding = (_ text: String, _ template: ProbeTemplate) throws -> [Int32]
