import Formats
import Processes
import Training

/// The flags of `craft train` that a command becomes, in order.
package struct TrainLine {
    package struct Entry {
        /// `--lr`.
        package let option: String
        /// Nil for a switch.
        package let value: String?
        /// The original flag that asked for it; nil when none was given.
        package let flag: String?
    }

    package private(set) var entries: [Entry] = []

    package mutating func add(_ option: String, _ value: String?, from flag: String? = nil) {
        entries.append(Entry(option: option, value: value, flag: flag))
    }

    /// Puts flags of `craft train` at the end; each takes the place of an entry that no original flag asked for.
    package mutating func append(_ passed: [String]) throws {
        for word in passed where word.hasPrefix("--") {
            let name = Self.bare(String(word.prefix { $0 != "=" }))
            if let entry = entries.first(where: { Self.bare($0.option) == name }), let flag = entry.flag {
                throw CompatibilityError(
                    .conflict, "\(word) stands after --, but --\(flag) says it already; give one of them")
            }
            entries.removeAll { Self.bare($0.option) == name }
        }
        entries += passed.map { Entry(option: $0, value: nil, flag: nil) }
    }

    private static func bare(_ option: String) -> String {
        option.hasPrefix("--no-") ? "--" + option.dropFirst(5) : option
    }

    /// Without `train` in front.
    package var arguments: [String] {
        entries.flatMap { entry -> [String] in
            guard let value = entry.value else { return [entry.option] }
            // A negative number would be taken for a flag.
            return value.hasPrefix("-") ? ["\(entry.option)=\(value)"] : [entry.option, value]
        }
    }

    /// To paste into a shell.
    package var shellText: String { ShellText.command(["craft", "train"] + arguments) }
}
