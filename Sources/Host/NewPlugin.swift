import ArgumentParser
import Formats
import Foundation
import Templates

extension Plugins {
    struct New: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write a folder with a gradient strategy of your own that builds, checks and trains as it is.",
            discussion: """
                craft plugins new Calm --lang c

                The folder needs nothing else of craft: the headers, PluginKit or the Rust crate are copied into it. It \
                starts from a small rule that caps the ratio between the objectives' gradient norms.
                """)

        @Argument(help: "The plugin's name: a capital letter, then letters and digits.")
        var name: String

        @Option(help: "Its language.")
        var lang: PluginLanguage

        @Option(help: ArgumentHelp("The new folder. Default: the plugin's name.", valueName: "folder"))
        var out: String?

        func run() throws {
            try PluginName.check(name)
            let folder = out ?? name
            guard !folder.isEmpty else {
                throw CommandError(.usage, "--out needs the path of a folder that does not exist yet")
            }
            let plugin = NewPlugin(name: name, language: lang, folder: folder)
            try plugin.write(from: try PluginSDK.find())
            print("\(folder)/\(lang.source(name)) holds the rule.\n")
            print(plugin.commands(relativeTo: folder, craft: CommandLine.arguments.first ?? "craft"))
        }
    }
}
