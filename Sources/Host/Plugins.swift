import ArgumentParser
import Foundation
import PluginRuntime

struct Plugins: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List plugins, show what one declares, call its hooks, validate it, or begin a new one.",
        subcommands: [List.self, Inspect.self, Call.self, New.self, Check.self, RunCheck.self, Names.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the plugins that can be found by name.")

        @OptionGroup var folders: PluginFolders

        func run() throws {
            let search = folders.search
            for (name, path) in search.available() {
                guard let library = try? PluginLibrary(path: path) else { continue }
                print(
                    "\(name.padding(toLength: max(name.count, 18), withPad: " ", startingAt: 0))  \(library.summary)  (\(path))"
                )
            }
        }
    }
}
