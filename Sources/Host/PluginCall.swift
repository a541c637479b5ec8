import ArgumentParser
import Conformance
import Formats
import Foundation
import PluginRuntime
import Processes
import Spelling
import Training

extension Plugins {
    /// Calls one hook of one plugin with values from a file: for authors, other languages' tests and bug reports.
    struct Call: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Call one hook with values by name and print what it gives.",
            discussion: """
                craft plugins call CRaFTProjection gradient_combine --json values.json
                echo '{"loss.retention": 0.2, "lambda.retention": 0}' | craft plugins call CRaFTDual:budget=0.1 post_step --json -

                The file holds an object: names as the hook declares them, with its settings filled in \
                (craft plugins inspect shows them), numbers for scalars and nested lists for arrays. "name@prev" is the \
                last step's value. A list of objects is a list of steps of one instance: a name that an object leaves out \
                keeps its value, a result such as lambda.X included, and "name@prev" is what the step before left.

                What can mean one thing only may be short: {"loss": {"retention": 1}} is "loss.retention", so is "loss" where the \
                hook reads no other; an array without its block axis is that of every block, and results then come without \
                it too. What the trainer derives may be left out: numel is 1 for each block, index.X the objectives in the \
                order the hook names them (row 0 is action's where it is not named), weights 1 or lambda.X where it is known, \
                loss.X its element of losses, gram the products of grads, step the number of the call from 0, seed 0.

                Random draws are the plugin's own unless order or uniforms is given (craft plugins names).

                Numbers come back in full precision; what is not finite as "inf", "-inf" or "nan", followed by an error, \
                because training ends there.
                """)

        @Argument(help: ArgumentHelp("Plugin name or .so file, with settings: NAME:key=value.", valueName: "plugin"))
        var plugin: String

        @Argument(
            help: ArgumentHelp(
                "Where it is called: plan, pre_backward, gradient_combine, post_step, evaluate or finish.",
                valueName: "hook"))
        var hook: String

        @Option(help: ArgumentHelp("File with the values; - reads the standard input.", valueName: "file"))
        var json: String

        @Option(
            help: ArgumentHelp(
                "The instance's state: read from there when the file exists, written there after the last call.",
                valueName: "file"))
        var state: String?

        @Option(help: ArgumentHelp("State the instance starts with, from --save-state.", valueName: "file"))
        var loadState: String?

        @Option(help: ArgumentHelp("Where its state goes after the last call.", valueName: "file"))
        var saveState: String?

        @OptionGroup var assignments: SettingAssignments

        @OptionGroup var folders: PluginFolders

        func validate() throws {
            if state != nil, loadState != nil || saveState != nil {
                throw ValidationError("--state reads and writes one file; leave --load-state and --save-state out")
            }
        }

        /// `post_step`, however it is written: `post-step`, `postStep`, `step`.
        private static func point(_ text: String) throws -> HookPoint {
            func letters(_ text: String) -> String { String(text.lowercased().filter(\.isLetter)) }
            let word = letters(text)
            let matches = HookPoint.allCases.filter { letters($0.rawValue) == word }
            let near = HookPoint.allCases.filter { !word.isEmpty && letters($0.rawValue).contains(word) }
            if let point = matches.first ?? (near.count == 1 ? near.first : nil) { return point }
            let known = HookPoint.allCases.map(\.rawValue)
            throw CommandError(
                .hook,
                "there is no hook '\(text)'; "
                    + Suggestion.hint(for: text, among: known, otherwise: "there are \(known.joined(separator: ", "))"))
        }

        func run() throws {
            let requests = try PluginRequest.parseList(plugin)
            guard requests.count == 1 else {
                throw CommandError(.usage, "'\(plugin)' names \(requests.count) plugins; call takes one")
            }
            let request = try assignments.apply(to: [requests])[0][0]
            let point = try Self.point(hook)
            let path = try folders.search.locate(request.name)
            let instance = try PluginInstance(library: PluginLibrary(path: path), request: request)
            guard !instance.arguments(at: point).isEmpty else {
                let others = HookPoint.allCases.filter { !instance.arguments(at: $0).isEmpty }.map(\.rawValue)
                throw CommandError(
                    .hook,
                    "\(request.name) has no hook at \(point.rawValue); it has some at \(others.joined(separator: ", "))"
                )
            }
            if let file = loadState ?? state.flatMap({ FileManager.default.fileExists(atPath: $0) ? $0 : nil }) {
                guard let data = FileManager.default.contents(atPath: file) else {
                    throw CommandError(
                        .missingFile,
                        "\(file): cannot be read; it should hold state that --save-state or --state wrote")
                }
                try instance.loadState(data)
            }
            let document = try NamedValues.Document(path: json)
            let caller = HookCaller(instance: instance, point: point, source: json == "-" ? "standard input" : json)
            var results: [String] = []
            var failure: (any Error)?
            for (number, values) in document.calls.enumerated() where failure == nil {
                do { results.append(try caller.call(values, number: number)) } catch { failure = error }
            }
            // What worked is shown before the error: it is what an author looks for.
            if document.isList {
                print("[" + results.joined(separator: ",\n ") + "]")
            } else if let result = results.first {
                print(result)
            }
            if let failure { throw failure }
            for file in Set([saveState, state].compactMap(\.self)) {
                try AtomicFile.write([UInt8](try instance.saveState()), to: file)
            }
            if let problem = caller.firstNonFinite { throw CommandError(.hook, problem) }
        }
    }
}
