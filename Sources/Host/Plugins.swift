import ArgumentParser
import Foundation
import PluginRuntime

struct Plugins: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List plugins, show what one declares, or call one of its hooks.",
        subcommands: [List.self, Inspect.self, Call.self, New.self, Check.self, RunCheck.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the plugins that can be found by name.")

        @Option(help: ArgumentHelp("Folders to search first, separated by colons.", valueName: "folders"))
        var pluginPath: String?

        func run() throws {
            let search = PluginSearch(paths: Installation.pluginPath(pluginPath))
            for (name, path) in search.available() {
                guard let library = try? PluginLibrary(path: path) else { continue }
                print(
                    "\(name.padding(toLength: max(name.count, 18), withPad: " ", startingAt: 0))  \(library.summary)  (\(path))"
                )
            }
        }
    }

    struct Inspect: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show a plugin's settings and hooks.")

        @Argument(help: "Plugin name or .so file.")
        var plugin: String

        @Option(help: ArgumentHelp("Folders to search first, separated by colons.", valueName: "folders"))
        var pluginPath: String?

        func run() throws {
            let path = try PluginSearch(paths: Installation.pluginPath(pluginPath)).locate(plugin)
            let library = try PluginLibrary(path: path)
            print("\(library.id) \(library.version): \(library.summary)")
            print("file      \(library.path)\nsha256    \(library.sha256)")
            print(
                "needs ABI \(library.abi.major).\(library.abi.minimumMinor) (this craft has \(PluginLibrary.hostABI))")
            print("settings")
            for parameter in library.parameters {
                var range = ""
                if let low = parameter.minimum, let high = parameter.maximum { range = ", \(low) to \(high)" }
                if !parameter.choices.isEmpty { range = ", one of \(parameter.choices.joined(separator: ", "))" }
                print(
                    "  \(parameter.name) = \(parameter.defaultText)  (\(parameter.kind.rawValue)\(range)) \(parameter.doc)"
                )
            }
            print("hooks")
            for hook in library.hooks { print("  \(hook.point.rawValue): \(hook.signatureText)") }
        }
    }
}
