import Formats
import Foundation
import Processes

/// The folder of a new plugin.
package struct NewPlugin {
    let name: String
    let language: PluginLanguage
    let folder: String

    package init(name: String, language: PluginLanguage, folder: String) {
        self.name = name
        self.language = language
        self.folder = folder
    }

    private static let example = "ExampleRule"

    /// Copies the example under the plugin's name, and what it is built from. Nothing stays behind when that fails.
    package func write(from sdk: PluginSDK) throws {
        let files = FileManager.default
        let target = URL(fileURLWithPath: folder)
        guard !files.fileExists(atPath: target.path) else {
            throw TemplateError(
                .folder, "'\(folder)' is there already; remove it, or give another folder with --out")
        }
        let partial = target.deletingLastPathComponent().appendingPathComponent(
            ".\(target.lastPathComponent).\(ProcessInfo.processInfo.processIdentifier)")
        do {
            try files.createDirectory(at: partial, withIntermediateDirectories: true)
            defer { try? files.removeItem(at: partial) }
            for (original, file) in zip(language.files(Self.example), language.files(name)) {
                try copyRenamed(
                    "\(sdk.examples)/\(language.rawValue)/\(original)", to: partial.appendingPathComponent(file))
            }
            for supply in language.supplies(of: sdk) {
                let place = partial.appendingPathComponent("craft-sdk/" + supply.to)
                try files.createDirectory(at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
                try files.copyItem(at: URL(fileURLWithPath: supply.from), to: place)
            }
            try Data(readme.utf8).write(to: partial.appendingPathComponent("README.md"))
            try files.moveItem(at: partial, to: target)
        } catch let error as CocoaError {
            throw TemplateError(.folder, "cannot write '\(folder)': \(error.localizedDescription)")
        }
    }

    private func copyRenamed(_ original: String, to copy: URL) throws {
        let source = try String(contentsOfFile: original, encoding: .utf8)
        try FileManager.default.createDirectory(at: copy.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(source.replacingOccurrences(of: Self.example, with: name).utf8).write(to: copy)
    }

    /// One line each to build, check and train.
    ///
    /// - Parameter place: the plugin's folder as seen from where the commands are given.
    package func commands(relativeTo place: String, craft: String) -> String {
        let libraries = place + language.libraryFolder
        let craft = ShellText.quoted(craft)
        return """
            build   \(language.buildCommand(ShellText.quoted(place)))
            check   \(craft) plugins check \(ShellText.quoted("\(libraries)/lib\(name).so"))
            train   \(craft) train --plugin-path \(ShellText.quoted(libraries)) --plugins BaselineL1,AnchorVariants,\(name) --steps 20
            """
    }

    private var readme: String {
        """
        # \(name)

        A plugin of craft. `\(language.source(name))` is the whole of it; `craft-sdk` is a copy of what it is built from, and
        works with every craft whose plugin ABI is 1.x. From this folder:

            \(commands(relativeTo: ".", craft: "craft").replacingOccurrences(of: "\n", with: "\n    "))

        """
    }
}
