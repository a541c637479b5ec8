import Foundation
import PluginRuntime
import TestSupport
import Testing
import Training

/// `docs/PLUGINS.md` and `docs/RECIPES.md` say what is so.
@Suite struct GuideTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func page(_ name: String) throws -> String {
        try String(contentsOf: BuildFolder.repository.appendingPathComponent("docs/\(name)"), encoding: .utf8)
    }

    /// Runs a command of a page in the test's folder; returns what it printed.
    private func run(_ command: String) throws -> String {
        let result = try Command.run(
            ["bash", "-c", command], in: folder.url,
            environment: [
                "CRAFT_ASSETS": BuildFolder.repository.appendingPathComponent("Assets").path,
                "PATH": BuildFolder.url.path + ":" + (ProcessInfo.processInfo.environment["PATH"] ?? ""),
            ])
        try #require(result.status == 0, "\(command): \(result.output)")
        return result.output
    }

    /// The guide's first chapter, command by command and edit by edit.
    @Test func firstStrategy() throws {
        let chapter = try #require(try page("PLUGINS.md").components(separatedBy: "\n## Reference").first)
        let prose = chapter.components(separatedBy: "```").enumerated().filter { $0.offset % 2 == 0 }.map(\.element)
        var commands = prose.joined().split(separator: "\n").filter {
            $0.hasPrefix("    ") && !$0.contains("export PATH")
        }
        .map { $0.trimmingCharacters(in: .whitespaces) }
        let blocks = chapter.components(separatedBy: "```c\n").dropFirst().map { $0.components(separatedBy: "```")[0] }
        try #require(blocks.count == 4)

        /// The next command of the guide, checked to be the one meant.
        func next(_ prefix: String) throws -> String {
            try #require(commands.first?.hasPrefix(prefix) == true, "\(commands.first ?? "no command")")
            return commands.removeFirst()
        }
        let small = " --batch-size 2 --questions none --hold-out-every 0 --quiet"
        func quick(_ command: String) -> String {
            command.replacingOccurrences(of: "--steps 20", with: "--steps 2") + small
        }

        let printed = try run(next("craft plugins new"))
        for label in ["build", "check", "train"] {
            let line = try next(label)
            #expect(printed.contains(line), "\(printed)")
            let command = line.dropFirst(label.count).trimmingCharacters(in: .whitespaces)
            if label == "train" { _ = try run(quick(command)) }
            if label == "build" { _ = try run(command) }
        }
        let source = folder.path("Calm/Calm.c")
        var code = try String(contentsOfFile: source, encoding: .utf8)
        for line in blocks[0].split(separator: "\n").prefix(2) { #expect(code.contains(line), "\(line)") }
        _ = try run(next("echo"))
        #expect(try run(next("craft plugins call")) == "{\"weights\": [[1.0, 0.1]]}\n")

        func replace(_ old: String, with new: String) throws {
            try #require(code.components(separatedBy: old).count == 2, "\(old)")
            code = code.replacingOccurrences(of: old, with: new)
        }
        func line(_ prefix: String) throws -> String {
            try #require(code.split(separator: "\n").last { $0.hasPrefix(prefix) }) + "\n"
        }
        try replace(line("#define OUT(X)"), with: blocks[1])
        try replace(line("    for (int64_t k"), with: "    int64_t acted = 0;\n" + line("    for (int64_t k"))
        try replace(line("        for (int64_t i"), with: blocks[2])
        try replace(
            "    return CRAFT_OK;\n}\n\nstatic craft_hook",
            with: blocks[3] + "    return CRAFT_OK;\n}\n\nstatic craft_hook")
        try Data(code.utf8).write(to: URL(fileURLWithPath: source))
        _ = try run(next("make"))
        _ = try run(quick(next("craft train")))
        #expect(try run(next("grep")).contains("\"Plugin/capped_share\":"))
        _ = try run(quick(next("craft train")))
        #expect(commands.isEmpty, "\(commands)")
        let plan = try #require(chapter.range(of: "craft plan [^`]*", options: .regularExpression))
        #expect(try run(String(chapter[plan])).contains("metric.capped_share"))
    }

    /// Every recipe builds as the page says, passes the check, and trains with its command.
    @Test func recipes() throws {
        let text = try page("RECIPES.md")
        let recipes = text.components(separatedBy: "\n### ").dropFirst()
        try #require(recipes.count == 8)
        let build = try #require(text.split(separator: "\n").first { $0.hasPrefix("    cc ") })
        let include = "Sources/PluginAPI/include"
        let header = BuildFolder.repository.appendingPathComponent(include).path
        for recipe in recipes {
            let parts = recipe.components(separatedBy: "```")
            try #require(parts.count == 3 && parts[1].hasPrefix("c\n/* "), "\(parts[0])")
            let (code, name) = (parts[1].dropFirst(2), parts[1].dropFirst(5).prefix { $0 != "." })
            try Data(code.utf8).write(to: URL(fileURLWithPath: folder.path("\(name).c")))
            _ = try run(
                build.replacingOccurrences(of: include, with: header).replacingOccurrences(of: "WiseFT", with: name)
                    + " -Wall -Wextra -Werror")
            _ = try run("craft plugins check lib\(name).so")
            let command = try #require(parts[0].split(separator: "\n").first { $0.hasPrefix("    craft train") })
            _ = try run(
                command + " --steps 2 --batch-size 2 --question-limit 4 --hold-out-every 0 --quiet --out runs/\(name)")
        }
    }
}
