import ArgumentParser
import PluginRuntime

/// `--set PLUGIN.key=value`, beside `--plugins PLUGIN:key=value`.
struct SettingAssignments: ParsableArguments {
    @Option(
        name: .customLong("set"),
        help: ArgumentHelp(
            "A setting of one plugin of the list, over what the list says; as often as needed.",
            valueName: "plugin.key=value"))
    var texts: [String] = []

    /// The lists with the settings in place. Each has to be for a plugin of at least one of them.
    func apply(to lists: [[PluginRequest]]) throws -> [[PluginRequest]] {
        try PluginRequest.lists(lists, setting: texts)
    }
}
