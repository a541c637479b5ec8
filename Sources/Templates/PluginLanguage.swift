/// A language that the SDK has an example in.
package enum PluginLanguage: String, CaseIterable {
    case c, cpp, rust, swift

    /// Files of the example, besides what is copied from the SDK.
    func files(_ name: String) -> [String] {
        switch self {
        case .c, .cpp: [".gitignore", "Makefile", source(name)]
        case .rust: [".gitignore", "Cargo.toml", source(name)]
        case .swift: [".gitignore", "Package.swift", source(name)]
        }
    }

    package func source(_ name: String) -> String {
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
