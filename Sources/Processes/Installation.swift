import Foundation

/// Where the things are that ship with craft.
package enum Installation {
    /// The running executable.
    package static let executable: String =
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]

    /// The folder of the executable; the shipped plugins lie beside it.
    package static let executableFolder = URL(fileURLWithPath: executable).deletingLastPathComponent().path

    /// The shipped model and data: `CRAFT_ASSETS`, or `Assets` in a folder above the executable or the current one.
    package static let assets: String = {
        if let path = ProcessInfo.processInfo.environment["CRAFT_ASSETS"], !path.isEmpty { return path }
        for start in [executableFolder, FileManager.default.currentDirectoryPath] {
            var folder = URL(fileURLWithPath: start)
            while folder.path != "/" {
                let candidate = folder.appendingPathComponent("Assets/small-vlm").path
                if FileManager.default.fileExists(atPath: candidate) {
                    return folder.appendingPathComponent("Assets").path
                }
                folder.deleteLastPathComponent()
            }
        }
        return "Assets"
    }()

    package static var model: String { assets + "/small-vlm" }
    package static var data: String { assets + "/libero-sample" }
    package static let dataset = "libero_spatial_no_noops"
    package static var questions: String { assets + "/easy-vqa-heldout" }

    /// Folders that are searched for plugins: the given ones, `CRAFT_PLUGIN_PATH`, and beside the executable.
    package static func pluginPath(_ given: String?) -> [String] {
        let environment = ProcessInfo.processInfo.environment["CRAFT_PLUGIN_PATH"] ?? ""
        return [given ?? "", environment].flatMap { $0.split(separator: ":").map(String.init) } + [executableFolder]
    }
}
