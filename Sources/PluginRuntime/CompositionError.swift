/// One thing that is wrong with a list of plugins.
package struct CompositionProblem: Sendable, Equatable {
    package enum Kind: String, Sendable {
        /// The plugin's file was not found.
        case unknownPlugin
        /// The file is not a plugin this host can run; `loadCause` says why.
        case unusablePlugin
        case duplicateInstance
        case unknownSetting
        case invalidSetting
        /// A name in a signature that the host does not know.
        case unknownName
        /// A name that cannot be read or produced at that point.
        case wrongPoint
        case wrongType
        case missingProvider
        case duplicateProvider
        case cycle
        /// A result that nothing would come of.
        case ignoredResult
        /// The plugin itself refused to be created with these settings.
        case refused
    }

    package var kind: Kind
    /// The value, setting or plugin the problem is about.
    package var name: String
    /// Instance names.
    package var neededBy: String = ""
    package var providedBy: String = ""
    package var point: HookPoint?
    package var type: String = ""
    package var problem: String
    /// What to do about it; may be empty.
    package var hint: String = ""
    package var loadCause: PluginLoadError.Cause?
}

/// Everything that is wrong with a list of plugins, found before anything runs.
package struct CompositionError: Error, CustomStringConvertible {
    package let problems: [CompositionProblem]

    package init(problems: [CompositionProblem]) { self.problems = problems }

    package var description: String {
        var table = TextTable(header: ["name", "needed by", "provided by", "point", "type", "problem"])
        for problem in problems {
            let text = problem.hint.isEmpty ? problem.problem : "\(problem.problem); \(problem.hint)"
            table.add([
                problem.name, problem.neededBy, problem.providedBy, problem.point?.rawValue ?? "", problem.type, text,
            ])
        }
        let count = problems.count == 1 ? "a problem" : "\(problems.count) problems"
        return "the plugins do not fit together (\(count)):\n\(table.render(indent: "  "))"
    }
}
