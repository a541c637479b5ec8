public import Foundation

/// Where the build put what tests open or run: the `craft` executable and the plugins' `.so` files.
public enum BuildFolder {
    /// The folder that holds the test bundle, and beside it every product of the package.
    public static let url: URL = {
        let binary = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return URL(fileURLWithPath: binary).deletingLastPathComponent()
    }()

    /// Path of a shipped plugin, `lib<name>.so`.
    public static func plugin(_ name: String) -> String { url.appendingPathComponent("lib\(name).so").path }

    /// Path of the `craft` executable.
    public static var craft: String { url.appendingPathComponent("craft").path }

    /// The root of the checkout, from this file's own location.
    public static let repository: URL = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// A file or folder under `Tests/Fixtures`.
    public static func fixture(_ path: String) -> URL {
        repository.appendingPathComponent("Tests/Fixtures").appendingPathComponent(path)
    }
}
