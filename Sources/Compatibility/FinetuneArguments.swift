import Formats
import Foundation
import PluginRuntime
import Spelling
import Training
import Yams

/// A command line of an original script, in draccus' syntax: `--flag value` or `--flag=value`, the last of several
/// holds, `--config_path FILE` gives values that flags override.
package struct FinetuneArguments {
    /// What was given, by flag.
    package private(set) var given: [String: FinetuneValue] = [:]
    /// What stands after `--`: flags of `craft train`.
    package private(set) var passed: [String] = []
    package private(set) var printsOnly = false
    package private(set) var printsFlags = false
    package private(set) var asksForHelp = false

    /// Whether the command is OpenVLA-OFT's.
    package var isOFT: Bool { given.keys.contains { FinetuneFlags.byName[$0]?.scripts == .oft } }

    /// The value that holds.
    package func value(_ name: String) -> FinetuneValue {
        given[name] ?? FinetuneFlags.byName[name]?.standard(oft: isOFT) ?? .none
    }

    package func isGiven(_ name: String) -> Bool { given[name] != nil }

    package func truth(_ name: String) -> Bool { value(name) == .truth(true) }

    package func whole(_ name: String) -> Int? { if case .whole(let value) = value(name) { value } else { nil } }

    package func number(_ name: String) -> Double? { if case .number(let value) = value(name) { value } else { nil } }

    package func text(_ name: String) -> String? { if case .text(let value) = value(name) { value } else { nil } }

    /// The text of a path or name when it was given.
    package func givenText(_ name: String) -> String? { isGiven(name) ? text(name) : nil }

    /// - Parameter trainFlags: names of the flags of `craft train`, for what is said of one that stands before `--`.
    package init(_ arguments: [String], trainFlags: Set<String>) throws {
        var problems: [String] = []
        var configPath: String?
        var entries: [(name: String, text: String)] = []
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            if argument == "--" {
                passed = Array(rest)
                break
            }
            switch argument {
            case "--print-only": printsOnly = true
            case "--flags": printsFlags = true
            case "--help", "-h", "-help": asksForHelp = true
            default:
                guard argument.hasPrefix("--") else {
                    problems.append(
                        "'\(argument)' is not a flag; give what follows finetune.py, every value behind its --flag")
                    continue
                }
                let body = argument.dropFirst(2)
                let name = String(body.prefix { $0 != "=" })
                var value = body.firstIndex(of: "=").map { String(body[body.index(after: $0)...]) }
                if value == nil, let next = rest.first, !next.hasPrefix("-") || Double(next) != nil {
                    value = next
                    rest = rest.dropFirst()
                }
                if name == "config_path" {
                    if let value { configPath = value } else { problems.append("--config_path takes a YAML file") }
                } else if FinetuneFlags.byName[name] == nil {
                    problems.append(Self.unknown(name, trainFlags))
                } else if let value {
                    entries.append((name, value))
                } else {
                    let kind = FinetuneFlags.byName[name]?.kind
                    problems.append(
                        "--\(name) has no value; expected \(kind == .truth ? "True or False" : "one behind it")")
                }
            }
        }
        if let configPath { entries = try Self.read(configPath, trainFlags) + entries }
        for (name, text) in entries {
            do { given[name] = try FinetuneFlags.byName[name]?.parse(text) } catch { problems.append("\(error)") }
        }
        guard problems.isEmpty else { throw CompatibilityError(.arguments, problems.joined(separator: "\n")) }
    }

    /// What to say about a flag that no original script has.
    private static func unknown(_ name: String, _ trainFlags: Set<String>) -> String {
        let dashed = name.replacingOccurrences(of: "_", with: "-")
        var names = FinetuneFlags.all.map(\.name) + ["config_path"]
        // A beginning that only one flag has is more telling than the distance to others.
        let beginnings = names.filter { $0.hasPrefix(name) }
        if beginnings.count == 1 { names = beginnings }
        if names.count == 1 { return "--\(name) is not a flag of the original scripts; did you mean '--\(names[0])'?" }
        let close = Suggestion.nearest(to: name.replacingOccurrences(of: "-", with: "_"), among: names)
        if close == nil, trainFlags.contains(dashed) {
            return
                "--\(name) is not a flag of the original scripts, but of craft train; give it after --: -- --\(dashed) ..."
        }
        let hint = close.map { "did you mean '--\($0)'?" } ?? "craft finetune --flags lists them all"
        return "--\(name) is not a flag of the original scripts; \(hint)"
    }

    private static func read(_ path: String, _ trainFlags: Set<String>) throws -> [(String, String)] {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw CompatibilityError(
                .missingFile, "\(path): no such file; --config_path takes a YAML file with values by flag name")
        }
        let node: Node?
        do { node = try Yams.compose(yaml: String(decoding: data, as: UTF8.self)) } catch {
            throw CompatibilityError(.malformedFile, "\(path): not YAML: \(error)")
        }
        guard let mapping = node?.mapping else {
            throw CompatibilityError(
                .malformedFile, "\(path): expected values as `flag: value` lines, e.g. `batch_size: 8`")
        }
        return try mapping.map { key, value in
            guard let name = key.string else {
                throw CompatibilityError(.malformedFile, "\(path): a flag's name is not a text")
            }
            guard FinetuneFlags.byName[name] != nil else {
                throw CompatibilityError(.malformedFile, "\(path): \(unknown(name, trainFlags))")
            }
            guard let scalar = value.scalar else {
                throw CompatibilityError(
                    .malformedFile, "\(path): the value of \(name) is neither a text, a number, a bool nor null")
            }
            return (name, scalar.string)
        }
    }
}
