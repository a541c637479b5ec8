import ArgumentParser
import Experiments
import Formats
import Foundation
import Training

/// `--config run.yaml`: the same settings as the flags, under the same names without dashes in front.
///
/// The file's entries are put before the command line's own flags, so a flag overrides its entry.
enum ConfigFile {
    static func expand(_ arguments: [String]) throws -> [String] {
        // The original training script has a --config_path of its own.
        guard let command = arguments.first, command != "finetune",
            let position = arguments.firstIndex(where: isConfigFlag)
        else {
            return arguments
        }
        var rest = Array(arguments.dropFirst())
        let flag = rest.remove(at: position - 1)
        let path: String
        if let equals = flag.firstIndex(of: "=") {
            path = String(flag[flag.index(after: equals)...])
        } else if position - 1 < rest.count {
            path = rest.remove(at: position - 1)
        } else {
            throw CommandError(.usage, "--config takes the path of a YAML file")
        }
        let entries = try RunFile.arguments(path)
        do {
            _ = try Craft.parseAsRoot([command] + entries)
        } catch {
            throw CommandError(.malformedFile, "\(path): \(Craft.message(for: error))")
        }
        return [command] + entries + rest
    }

    private static func isConfigFlag(_ text: String) -> Bool { text == "--config" || text.hasPrefix("--config=") }
}
