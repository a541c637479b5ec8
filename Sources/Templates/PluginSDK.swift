import Formats
import Foundation
import Processes

/// The files that plugins are built from: in a checkout of craft, or in a folder that `scripts/install-sdk.sh` filled.
package struct PluginSDK {
    /// Folder with `craft_plugin.h` and `craft_plugin.hpp`.
    let headers: String
    /// Folder with PluginKit's sources.
    let kit: String
    /// Folder with GradientMath's sources.
    let math: String
    /// The manifest that makes a package of headers, PluginKit and GradientMath.
    let manifest: String
    /// The linker's list of exported symbols.
    let exports: String
    /// Folder of the Rust crate.
    let crate: String
    /// Folder with one example per language.
    let examples: String

    /// `CRAFT_SDK`, or the checkout above the executable or the current folder.
    package static func find() throws -> PluginSDK {
        if let folder = ProcessInfo.processInfo.environment["CRAFT_SDK"], !folder.isEmpty {
            let sdk = PluginSDK(installed: folder)
            guard sdk.isComplete else {
                throw TemplateError(
                    .missingSDK,
                    "CRAFT_SDK is '\(folder)', and there is no complete plugin SDK; fill it with scripts/install-sdk.sh \(folder)"
                )
            }
            return sdk
        }
        for start in [Installation.executableFolder, FileManager.default.currentDirectoryPath] {
            var folder = URL(fileURLWithPath: start)
            while folder.path != "/" {
                let sdk = PluginSDK(checkout: folder.path)
                if sdk.isComplete { return sdk }
                folder.deleteLastPathComponent()
            }
        }
        throw TemplateError(
            .missingSDK,
            "there is no plugin SDK above \(Installation.executableFolder): run scripts/install-sdk.sh FOLDER in a checkout of "
                + "craft, and give that folder in the environment as CRAFT_SDK")
    }

    private init(checkout root: String) {
        headers = root + "/Sources/PluginAPI/include"
        kit = root + "/Sources/PluginKit"
        math = root + "/Sources/GradientMath"
        manifest = root + "/SDK/swift/Package.swift"
        exports = root + "/Plugins/exports.map"
        crate = root + "/SDK/rust"
        examples = root + "/SDK/examples"
    }

    private init(installed root: String) {
        headers = root + "/PluginAPI/include"
        kit = root + "/PluginKit"
        math = root + "/GradientMath"
        manifest = root + "/Package.swift"
        exports = root + "/exports.map"
        crate = root + "/rust"
        examples = root + "/examples"
    }

    private var isComplete: Bool {
        [
            headers + "/craft_plugin.hpp", kit + "/Plugin.swift", math + "/Gram.swift", manifest, exports,
            crate + "/Cargo.toml", examples,
        ].allSatisfy { FileManager.default.fileExists(atPath: $0) }
    }
}
