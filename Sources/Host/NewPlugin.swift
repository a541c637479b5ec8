import ArgumentParser
import Foundation
import Processes

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

        @Option(help: "c, cpp, rust or swift.")
        var lang: String

        @Option(help: ArgumentHelp("The new folder. Default: the plugin's name.", valueName: "folder"))
        var out: String?

        func run() throws {
            guard let language = PluginLanguage(rawValue: lang) else {
                throw NewPluginError("--lang \(lang): there are c, cpp, rust and swift")
            }
            try PluginName.check(name)
            let folder = out ?? name
            guard !folder.isEmpty else {
                throw NewPluginError("--out needs the path of a folder that does not exist yet")
            }
            let plugin = NewPlugin(name: name, language: language, folder: folder)
            try plugin.write(from: try PluginSDK.find())
            print("\(folder)/\(language.source(name)) holds the rule.\n")
            print(plugin.commands(relativeTo: folder, craft: CommandLine.arguments.first ?? "craft"))
        }
    }
}

/// What kept a plugin folder from being written.
struct NewPluginError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// A language that the SDK has an example in.
enum PluginLanguage: String, CaseIterable {
    case c, cpp, rust, swift

    /// Files of the example, besides what is copied from the SDK.
    func files(_ name: String) -> [String] {
        switch self {
        case .c, .cpp: [".gitignore", "Makefile", source(name)]
        case .rust: [".gitignore", "Cargo.toml", source(name)]
        case .swift: [".gitignore", "Package.swift", source(name)]
        }
    }

    func source(_ name: String) -> String {
        switch self {
        case .c: "\(name).c"
        case .cpp: "\(name).cpp"
        case .rust: "src/lib.rs"
        case .swift: "Sources/\(name).swift"
        }
    }

    /// Where the build puts the library, below the plugin's folder.
    var libraryFolder: String {
        switch self {
        case .c, .cpp: ""
        case .rust: "/target/release"
        case .swift: "/.build/release"
        }
    }

    /// Source in the SDK and place below `craft-sdk`.
    func supplies(of sdk: PluginSDK) -> [(from: String, to: String)] {
        switch self {
        case .c: [(sdk.headers + "/craft_plugin.h", "craft_plugin.h"), (sdk.exports, "exports.map")]
        case .cpp:
            [
                (sdk.headers + "/craft_plugin.h", "craft_plugin.h"),
                (sdk.headers + "/craft_plugin.hpp", "craft_plugin.hpp"), (sdk.exports, "exports.map"),
            ]
        case .rust: [(sdk.crate + "/Cargo.toml", "Cargo.toml"), (sdk.crate + "/src", "src")]
        case .swift:
            [
                (sdk.manifest, "Package.swift"), (sdk.headers, "PluginAPI/include"), (sdk.kit, "PluginKit"),
                (sdk.math, "GradientMath"), (sdk.exports, "exports.map"),
            ]
        }
    }

    func buildCommand(_ folder: String) -> String {
        switch self {
        case .c, .cpp: "make -C \(folder)"
        case .rust: "cargo build --release --offline --manifest-path \(folder)/Cargo.toml"
        case .swift: "swift build -c release --package-path \(folder)"
        }
    }
}

/// A plugin's name that is also a C, C++, Rust and Swift identifier.
enum PluginName {
    /// Names that mean something else in one of the languages.
    private static let taken: Set<String> = [
        "Any", "AnyParameter", "Array", "ArrayMut", "ArrayView", "BlockGroup", "BlockKind", "BlockScope", "Bool", "Box",
        "Character", "Double", "Element", "HookCode", "HookPoint", "HookValues", "ProbeTemplate", "Shape", "TapLayer",
        "TapPooling", "TapTokens",
        "Error", "Float", "Hook", "Hooks", "Input", "Int", "MutableArrayView", "Never", "None", "Option", "Optional",
        "Out", "Output", "Parameter", "ParameterRow", "Plugin", "PluginAPI", "PluginDescription", "PluginError",
        "PluginKit", "Protocol", "Reader", "Result", "Scalar", "Self", "Sendable", "Set", "Settings", "Some",
        "StateReader",
        "StateWriter", "String", "Swift", "Type", "Vec", "Void", "Writer", "Err", "Ok", "Dictionary", "Encodable",
        "Decodable",
        "Codable", "Sequence", "Glibc", "Foundation", "FILE", "INFINITY", "NAN", "NULL", "EOF", "IN", "OUT",
    ]

    static func check(_ name: String) throws {
        let isIdentifier =
            name.utf8.count <= 64 && name.first.map { $0.isASCII && $0.isUppercase } == true
            && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber) }
        guard isIdentifier else {
            throw NewPluginError(
                "'\(name)' cannot be a plugin's name in every language: start with a capital letter and use letters and "
                    + "digits, at most 64, such as GradientCap")
        }
        guard !taken.contains(name) else {
            throw NewPluginError("'\(name)' means something else in C, C++, Rust or Swift; take another name")
        }
        let shipped = Installation.executableFolder + "/lib\(name).so"
        guard !FileManager.default.fileExists(atPath: shipped) else {
            throw NewPluginError("'\(name)' is a plugin that ships with craft (\(shipped)); take another name")
        }
    }
}

/// The folder of a new plugin.
struct NewPlugin {
    let name: String
    let language: PluginLanguage
    let folder: String

    private static let example = "ExampleRule"

    /// Copies the example under the plugin's name, and what it is built from. Nothing stays behind when that fails.
    func write(from sdk: PluginSDK) throws {
        let files = FileManager.default
        let target = URL(fileURLWithPath: folder)
        guard !files.fileExists(atPath: target.path) else {
            throw NewPluginError("'\(folder)' is there already; remove it, or give another folder with --out")
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
            throw NewPluginError("cannot write '\(folder)': \(error.localizedDescription)")
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
    func commands(relativeTo place: String, craft: String) -> String {
        let libraries = place + language.libraryFolder
        let craft = Self.quoted(craft)
        return """
            build   \(language.buildCommand(Self.quoted(place)))
            check   \(craft) plugins check \(Self.quoted("\(libraries)/lib\(name).so"))
            train   \(craft) train --plugin-path \(Self.quoted(libraries)) --plugins BaselineL1,AnchorVariants,\(name) --steps 20
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

    /// For a shell.
    private static func quoted(_ text: String) -> String {
        let isPlain = text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "/._-+".contains($0)) }
        return isPlain && !text.isEmpty ? text : "'" + text.replacingOccurrences(of: "'", with: "'\\''") + "'"
    }
}
