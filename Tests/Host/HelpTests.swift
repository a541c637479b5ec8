import Foundation
import TestSupport
import Testing

extension HostTests {
    /// What every command says of itself, kept as files: a default or a sentence that changes is seen where changes are read.
    @Suite struct HelpTests {
        private static let folder = BuildFolder.repository.appendingPathComponent("Tests/Host/Help")
        /// Set, the files are written anew instead: `CRAFT_REWRITE_HELP=1 swift test --filter HelpTests`.
        private static let isRewriting = ProcessInfo.processInfo.environment["CRAFT_REWRITE_HELP"] != nil

        private func help(_ command: [String]) throws -> String {
            let result = try Command.run(
                [BuildFolder.craft] + command + ["--help"],
                environment: CraftCommand.environment.merging(["COLUMNS": "100"]) { _, new in new })
            try #require(result.status == 0, "\(command): \(result.output)")
            return result.standardOutput
        }

        private func subcommands(_ help: String) -> [String] {
            guard let list = help.components(separatedBy: "SUBCOMMANDS:\n").dropFirst().first else { return [] }
            return list.matches(of: /^  ([a-z][a-z-]*)(?: |$)/.anchorsMatchLineEndings()).map { String($0.1) }
        }

        @Test func everyCommandSaysWhatItSaid() throws {
            var commands: [[String]] = [[]]
            var names: Set<String> = []
            var next = 0
            while next < commands.count {
                let command = commands[next]
                next += 1
                let text = try help(command)
                commands += subcommands(text).map { command + [$0] }
                let name = (["craft"] + command).joined(separator: "-") + ".txt"
                names.insert(name)
                let file = Self.folder.appendingPathComponent(name)
                if Self.isRewriting { try Data(text.utf8).write(to: file) }
                let kept = try? String(contentsOf: file, encoding: .utf8)
                #expect(
                    kept == text,
                    "craft \(command.joined(separator: " ")): Tests/Host/Help/\(name) differs; write it with CRAFT_REWRITE_HELP=1"
                )
            }
            #expect(names.count > 25)
            let files = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path)
            #expect(Set(files) == names)
        }

        /// The two commands that share flags print their own defaults.
        @Test func defaultsAreTheCommands() throws {
            func defaults(_ command: String) throws -> [String: String] {
                let entries = try help([command]).components(separatedBy: "\n  --").dropFirst()
                return Dictionary(
                    entries.map { entry in
                        let words = entry.split { $0 == " " || $0 == "\n" }.joined(separator: " ")
                        let text = words.firstMatch(of: /Default: (.*?)\.(?: |$)/).map { String($0.1) } ?? ""
                        return (String(entry.prefix { $0.isLetter || $0 == "-" }), text)
                    }, uniquingKeysWith: { first, _ in first })
            }
            let (train, pretrain) = (try defaults("train"), try defaults("pretrain"))
            for (flag, one, other) in [
                ("steps", "200", "5000"), ("batch-size", "8", "32"), ("schedule", "constant", "cosine"),
                ("warmup", "0", "100"), ("log-every", "1", "10"), ("plugins", "BaselineL1", "AnswerLoss"),
                ("hold-out-every", "4", "0"), ("clip", "0", "1"), ("seed", "0", "0"),
                ("questions", "the held-out ones that ship with craft", "--data"),
            ] {
                #expect(train[flag] == one, "--\(flag): \(train[flag] ?? "missing")")
                #expect(pretrain[flag] == other, "--\(flag): \(pretrain[flag] ?? "missing")")
            }
        }
    }
}
