import PluginRuntime
import Training

/// What a plugin says about itself, and what it accepts as settings.
package enum DescriptorChecks {
    /// Defined by linkers, not by authors.
    private static let linkerSymbols: Set<String> = [
        "_init", "_fini", "__bss_start", "_edata", "_end", "__bss_start__", "__bss_end__", "_bss_end__", "__end__",
    ]

    package static func symbols(_ plugin: TrialPlugin) throws -> String? {
        let file = try SharedLibraryFile(path: plugin.library.path)
        guard file.unique.isEmpty else {
            let more = file.unique.count > 1 ? " and \(file.unique.count - 1) more" : ""
            throw CheckProblem(
                "it exports the variable '\(file.unique[0])'\(more), of which a process has only one (STB_GNU_UNIQUE): another "
                    + "plugin with the same would share its value; compile with -fvisibility=hidden or -fno-gnu-unique")
        }
        let others = file.exported.filter { $0 != "craft_plugin_entry" && !linkerSymbols.contains($0) }.sorted()
        guard others.isEmpty else {
            let more = others.count > 3 ? " and \(others.count - 3) more" : ""
            throw CheckProblem(
                "it exports \(others.prefix(3).map { "'\($0)'" }.joined(separator: ", "))\(more) besides "
                    + "craft_plugin_entry: compile with -fvisibility=hidden or link with a version script")
        }
        return nil
    }

    package static func descriptor(_ plugin: TrialPlugin) throws -> String? {
        let library = plugin.library
        let segments = library.id.split(separator: ".", omittingEmptySubsequences: false)
        let isName = segments.allSatisfy { segment in
            !segment.isEmpty
                && segment.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") }
        }
        guard segments.count >= 2, isName else {
            throw CheckProblem(
                "its id '\(library.id)' is not of the form org.example.my-rule: two or more segments of letters, "
                    + "digits, '-' and '_'")
        }
        let core = library.version.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)[0]
        let numbers = core.split(separator: ".", omittingEmptySubsequences: false)
        guard numbers.count == 3, numbers.allSatisfy({ UInt32($0) != nil }) else {
            throw CheckProblem("its version '\(library.version)' is not of the form 1.0.0")
        }
        for parameter in library.parameters {
            if parameter.doc.isEmpty {
                throw CheckProblem("setting '\(parameter.name)' has no documentation: say what it does in one sentence")
            }
            if let low = parameter.minimum, let high = parameter.maximum, low > high {
                throw CheckProblem("setting '\(parameter.name)' has the empty range \(low) to \(high)")
            }
        }
        try library.checkEntry()
        try checkNames(try plugin.makeInstance())
        return nil
    }

    /// Every name has to be one of the trainer's, with its type, at a point where it exists.
    private static func checkNames(_ instance: PluginInstance) throws {
        for hook in HookTrial.all(of: instance) {
            for (arguments, isInput) in [(hook.inputs, true), (hook.results, false)] {
                for argument in arguments {
                    let verb = isInput ? "reads" : "gives"
                    guard let match = NameRegistry.training.match(argument.name) else {
                        throw CheckProblem(
                            "its \(hook.point.rawValue) hook \(verb) '\(argument.name)', which the trainer does not know"
                        )
                    }
                    guard argument.type.accepts(match.type) else {
                        throw CheckProblem(
                            "its \(hook.point.rawValue) hook \(verb) '\(argument)', but the trainer's is \(match.type)")
                    }
                    let points = isInput ? match.entry.readable : match.entry.producible
                    guard points.contains(hook.point) || argument.isPrevious else {
                        let list = points.sorted().map(\.rawValue).joined(separator: ", ")
                        throw CheckProblem(
                            "its \(hook.point.rawValue) hook \(verb) '\(argument.name)', which can be "
                                + "\(isInput ? "read" : "given") at \(list.isEmpty ? "no point" : list) only")
                    }
                }
            }
        }
    }

    /// Creates an instance with each setting at each of its limits and choices, and calls its hooks. A plugin may refuse
    /// a value with a reason; it may not end the process.
    package static func settings(_ plugin: TrialPlugin) throws -> String? {
        var refused: [String] = []
        for parameter in plugin.library.parameters {
            for text in values(of: parameter) {
                let instance: PluginInstance
                do {
                    instance = try plugin.makeInstance([parameter.name: text])
                } catch let problem as CheckProblem {
                    if problem.description.hasSuffix("no message") {
                        throw CheckProblem("with \(parameter.name)=\(text), \(problem)")
                    }
                    refused.append("\(parameter.name)=\(text)")
                    continue
                }
                let trial = TrialCase.all(.random)[14]
                for call in try plugin.run(instance, trial, steps: 0..<2) {
                    do {
                        try call.checkMessage()
                    } catch {
                        throw CheckProblem("with \(parameter.name)=\(text), \(error)")
                    }
                }
            }
        }
        return refused.isEmpty ? nil : "refuses \(refused.joined(separator: ", "))"
    }

    private static func values(of parameter: Parameter) -> [String] {
        switch parameter.kind {
        case .bool: return ["false", "true"]
        case .string: return parameter.choices
        case .f64: return [parameter.minimum ?? -1e308, parameter.maximum ?? 1e308].map { String($0) }
        case .i64:
            return [
                parameter.minimum.flatMap { Int64(exactly: $0.rounded(.up)) } ?? .min,
                parameter.maximum.flatMap { Int64(exactly: $0.rounded(.down)) } ?? .max,
            ].map { String($0) }
        }
    }
}
