import ArgumentParser
import PluginRuntime
import Processes

/// `--plugin-path`, and the folders that are searched without it.
struct PluginFolders: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Folders to search first for plugins, separated by colons. CRAFT_PLUGIN_PATH and the executable's own folder come after.",
            valueName: "folders"))
    var pluginPath: String?

    var isGiven: Bool { pluginPath != nil }

    var paths: [String] { Installation.pluginPath(pluginPath) }

    var search: PluginSearch { PluginSearch(paths: paths) }
}
