package import PluginRuntime

/// CRaFT's flags as plugins, and back.
package enum FinetunePlugins {
    package static func list(_ arguments: FinetuneArguments) -> [PluginRequest] {
        let baseline = PluginRequest(name: "BaselineL1")
        guard arguments.truth("use_craft") else { return [baseline] }
        func text(_ name: String) -> String { arguments.value(name).description }
        let anchors = PluginRequest(
            name: "AnchorVariants",
            settings: [
                "type": text("craft_anchor_type"), "tokens": text("craft_cr_token_mode"),
                "layer": arguments.whole("craft_anchor_layer_idx").map(String.init) ?? "middle",
            ])
        let projection = PluginRequest(
            name: "CRaFTProjection", settings: ["enable": arguments.truth("craft_enable_projection") ? "true" : "false"]
        )
        let multiplier =
            arguments.truth("craft_enable_dual")
            ? PluginRequest(
                name: "CRaFTDual", settings: ["budget": text("craft_retention_budget"), "lr": text("craft_dual_lr")])
            : PluginRequest(name: "FixedMultiplier", settings: ["value": text("craft_fixed_lambda")])
        return [baseline, anchors, projection, multiplier]
    }

    /// The texts of the flags that a run's plugins amount to; a flag that they say nothing about is left out.
    package static func flags(_ plugins: [PluginRequest]) -> [String: String] {
        func plugin(_ name: String) -> PluginRequest? { plugins.first { $0.name == name } }
        guard let anchors = plugin("AnchorVariants") else { return ["use_craft": "False"] }
        var flags = ["use_craft": "True"]
        flags["craft_anchor_type"] = anchors.settings["type"] ?? "concat"
        flags["craft_cr_token_mode"] = anchors.settings["tokens"] ?? "vision_only"
        let layer = anchors.settings["layer"] ?? "middle"
        flags["craft_anchor_layer_idx"] = layer == "middle" ? "None" : layer
        let projects = plugin("CRaFTProjection").map { $0.settings["enable"] != "false" } ?? false
        flags["craft_enable_projection"] = projects ? "True" : "False"
        if let dual = plugin("CRaFTDual") {
            flags["craft_enable_dual"] = "True"
            flags["craft_retention_budget"] = dual.settings["budget"] ?? "0.1"
            flags["craft_dual_lr"] = dual.settings["lr"] ?? "0.01"
        } else {
            flags["craft_enable_dual"] = "False"
            flags["craft_fixed_lambda"] = plugin("FixedMultiplier")?.settings["value"] ?? "0.1"
        }
        return flags
    }
}
