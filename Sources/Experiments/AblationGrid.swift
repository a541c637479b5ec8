import Formats
package import PluginRuntime
import Training

/// What an ablation runs: plugin combinations x settings x seeds.
package struct AblationGrid: Sendable {
    /// One plugin list under a name, with the flags of `craft train` that only it gets.
    package struct Combination: Sendable {
        package var name: String
        package var plugins: [PluginRequest]
        package var flags: [Flag]

        package init(name: String, plugins: [PluginRequest], flags: [Flag] = []) {
            self.name = name
            self.plugins = plugins
            self.flags = flags
        }
    }

    /// A flag of `craft train`: its name without dashes, the value as the user wrote it, and the argument it becomes. A
    /// name with a dot, `CRaFTDual.budget`, is a plugin's setting.
    package struct Flag: Sendable, Equatable {
        package var name: String
        package var value: String
        package var argument: String

        /// The plugin and its setting; `nil` for a flag.
        package var assignment: PluginAssignment? {
            guard let dot = name.lastIndex(of: ".") else { return nil }
            return PluginAssignment(
                instance: String(name[..<dot]), key: String(name[name.index(after: dot)...]), value: value)
        }

        /// Whether it says something about runs with these plugins.
        package func concerns(_ plugins: [PluginRequest]) -> Bool {
            assignment.map { assignment in plugins.contains { $0.instance == assignment.instance } } ?? true
        }

        /// - Parameter isSwitch: whether `value` is a plain true or false, for flags that take no value.
        package init(_ name: String, _ value: String, isSwitch: Bool = false) {
            // A plugin's setting keeps its name.
            self.name = name.contains(".") ? name : String(name.map { $0 == "_" ? "-" : $0 })
            self.value = value
            argument =
                isSwitch ? (value == "true" ? "--\(self.name)" : "--no-\(self.name)") : "--\(self.name)=\(value)"
        }
    }

    /// One varied setting. Combinations without the plugin whose setting it is do not vary by it.
    package struct Axis: Sendable {
        package var values: [Flag]
        package init(values: [Flag]) { self.values = values }
    }

    /// A line of the table: everything that a run is started with, except its seed and its folder.
    package struct Row: Sendable, Equatable {
        package var title: String
        package var arguments: [String]
        package var steps: Int
        /// A folder name that no other row has; the same for the same arguments, whatever else the grid holds.
        package var folder: String
    }

    /// Flags that the grid itself decides.
    package static let ownFlags: Set<String> = ["plugins", "seed", "out", "resume", "config", "quiet", "help"]

    package var combinations: [Combination]
    /// Flags that every run gets; a combination's own and the axes win over them.
    package var flags: [Flag] = []
    package var axes: [Axis] = []
    /// Flags that win over all others.
    package var overrides: [Flag] = []
    package var seeds: [UInt64] = [0]

    package init(combinations: [Combination]) { self.combinations = combinations }

    /// Reads `A; A+B; full = A+B:key=value`: combinations separated by semicolons, plugins by `+` or commas.
    package static func combinations(parsing text: String) throws -> [Combination] {
        try text.split(separator: ";", omittingEmptySubsequences: false).map { part in
            let item = trimmed(part)
            guard !item.isEmpty else {
                throw ExperimentError(
                    .invalidGrid,
                    "--combos '\(text)' has an empty entry: write combinations separated by single semicolons")
            }
            // "name = list" has blanks around its sign; "second=A" names an instance.
            let sides = item.split(separator: " = ", maxSplits: 1)
            let list = trimmed(sides.last ?? "")
            let plugins = try PluginRequest.parseList(separatedByCommas(list))
            return Combination(name: sides.count == 2 ? trimmed(sides[0]) : list, plugins: plugins)
        }
    }

    /// Plus signs that no backslash escapes become commas.
    private static func separatedByCommas(_ list: String) -> String {
        var text = ""
        var isEscaped = false
        for character in list {
            if isEscaped {
                text += character == "+" ? "+" : "\\\(character)"
                isEscaped = false
            } else if character == "\\" {
                isEscaped = true
            } else {
                text.append(character == "+" ? "," : character)
            }
        }
        return text
    }

    /// Every row, in the grid's order. Throws ``ExperimentError`` when two rows are the same, or a setting is not the
    /// grid's to give.
    package func rows() throws -> [Row] {
        guard !combinations.isEmpty else {
            throw ExperimentError(.invalidGrid, "the grid has no combinations of plugins")
        }
        guard !seeds.isEmpty, Set(seeds).count == seeds.count else {
            throw ExperimentError(.invalidGrid, "the seeds \(seeds) must be one or more, all different")
        }
        for flag in flags + overrides + axes.flatMap(\.values) + combinations.flatMap(\.flags)
        where Self.ownFlags.contains(flag.name) {
            throw ExperimentError(
                .invalidGrid,
                "'\(flag.name)' is not a setting of a grid: combinations give plugins, seeds the seeds, --out the folder"
            )
        }
        // Settings of plugins that no combination, or not their own, has.
        var lists = combinations.map(\.plugins)
        for flag in flags + overrides + axes.flatMap(\.values) { try flag.assignment?.apply(to: &lists) }
        for combination in combinations {
            var own = [combination.plugins]
            for flag in combination.flags { try flag.assignment?.apply(to: &own) }
        }
        var rows: [Row] = []
        for combination in combinations {
            guard !combination.plugins.isEmpty else {
                throw ExperimentError(.invalidGrid, "combination '\(combination.name)' has no plugins")
            }
            for choice in choices(for: combination) { rows.append(try row(combination, choice)) }
        }
        for (index, row) in rows.enumerated() {
            if let twin = rows[..<index].first(where: { $0.title == row.title || $0.arguments == row.arguments }) {
                throw ExperimentError(.invalidGrid, "'\(twin.title)' and '\(row.title)' are the same row twice")
            }
        }
        return rows
    }

    /// Every way to choose one value of each axis that concerns the combination; the last axis varies fastest.
    private func choices(for combination: Combination) -> [[Flag]] {
        var choices: [[Flag]] = [[]]
        for axis in axes {
            guard axis.values.first?.concerns(combination.plugins) == true else { continue }
            choices = choices.flatMap { choice in axis.values.map { choice + [$0] } }
        }
        return choices
    }

    private func row(_ combination: Combination, _ choice: [Flag]) throws -> Row {
        var plugins = [combination.plugins]
        var chosen: [String: Flag] = [:]
        for flag in flags + combination.flags + choice + overrides where flag.concerns(combination.plugins) {
            if let assignment = flag.assignment {
                try assignment.apply(to: &plugins)
            } else {
                chosen[flag.name] = flag
            }
        }
        var steps = 200
        if let flag = chosen["steps"] {
            guard let number = Int(flag.value), number > 0 else {
                throw ExperimentError(.invalidGrid, "steps is '\(flag.value)'; give a number above 0")
            }
            steps = number
        } else {
            chosen["steps"] = Flag("steps", "\(steps)")
        }
        let arguments =
            ["--plugins=\(plugins[0].map(\.listText).joined(separator: ","))"]
            + chosen.values.sorted { $0.name < $1.name }.map(\.argument)
        let title = ([combination.name] + choice.map { "\($0.name)=\($0.value)" }).joined(separator: " ")
        return Row(
            title: title, arguments: arguments, steps: steps, folder: Self.folder(of: title, arguments))
    }

    private static func trimmed(_ text: some StringProtocol) -> String {
        String(text.drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed())
    }

    /// The title's letters and a hash of the arguments (FNV-1a).
    private static func folder(of title: String, _ arguments: [String]) -> String {
        var hash: UInt64 = 14_695_981_039_346_656_037
        for byte in arguments.joined(separator: "\u{0}").utf8 { hash = (hash ^ UInt64(byte)) &* 1_099_511_628_211 }
        let letters = title.map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") ? $0 : "-" }.prefix(40)
        let digits = String(hash, radix: 16)
        return String(letters) + "-" + String((String(repeating: "0", count: 16) + digits).suffix(8))
    }
}
