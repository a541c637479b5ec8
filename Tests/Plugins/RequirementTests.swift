import Foundation
import PluginRuntime
import TestSupport
import Testing

/// The requirements of `craft_plugin.h`: each names what enforces it, that exists, and it catches a plugin that breaks it.
@Suite struct RequirementTests {
    private struct Requirement {
        let number: Int
        /// `load`, `compose`, `check symbols`, ...
        let enforcers: [String]
        var checks: [String] {
            enforcers.filter { $0.hasPrefix("check ") }
                .flatMap { $0.dropFirst("check ".count).components(separatedBy: ", ") }
        }
    }

    private static let include = BuildFolder.repository.appendingPathComponent("Sources/PluginAPI/include").path

    /// The rows of the header's table: a number, a sentence, and after at least two spaces the enforcers.
    private static let requirements: [Requirement] = {
        let header = (try? String(contentsOfFile: include + "/craft_plugin.h", encoding: .utf8)) ?? ""
        return header.components(separatedBy: "\n *   R").dropFirst().compactMap { row in
            let line = row.prefix { $0 != "\n" }
            guard let number = Int(line.prefix { $0.isNumber }), let last = line.components(separatedBy: "  ").last
            else { return nil }
            return Requirement(
                number: number,
                enforcers: last.components(separatedBy: ";").map { $0.trimmingCharacters(in: .whitespaces) })
        }
    }()

    private struct Report: Decodable {
        struct Check: Decodable {
            var check: String
            var status: String
        }
        var checks: [Check]
    }

    private func report(_ plugin: String, _ more: [String] = []) throws -> Report {
        let result = try Command.run([BuildFolder.craft, "plugins", "check", plugin, "--json", "--seed", "1"] + more)
        return try JSONDecoder().decode(Report.self, from: Data(result.standardOutput.utf8))
    }

    @Test func everyOneIsNumberedAndSaysWhatEnforcesIt() {
        #expect(Self.requirements.map(\.number) == Array(1...30))
        let known: Set = ["compile", "compile (SDKs)", "load", "compose", "call", "its tests", "review"]
        for requirement in Self.requirements {
            #expect(!requirement.enforcers.isEmpty)
            for enforcer in requirement.enforcers {
                #expect(known.contains(enforcer) || enforcer.hasPrefix("check "), "R\(requirement.number): \(enforcer)")
            }
        }
    }

    /// The checks that requirements name are those that there are. `load` enforces what the table calls by that word; what
    /// `process` asks is a courtesy beyond the requirements.
    @Test func theChecksAreThoseOfTheValidator() throws {
        let checks = try report(BuildFolder.plugin("Sum")).checks
        let passed = checks.allSatisfy { $0.status == "passed" }
        #expect(passed)
        #expect(Set(Self.requirements.flatMap(\.checks)) == Set(checks.map(\.check)).subtracting(["load", "process"]))
    }

    /// By requirement and check, a plugin of `Tests/Host/BadPlugins` that breaks the one and that the other refuses.
    private static let offenders: [(number: Int, check: String, plugin: String)] = [
        (1, "symbols", "symbols"), (2, "scan", "scan"), (5, "descriptor", "descriptor"), (6, "settings", "settings"),
        (7, "load", "load"), (8, "descriptor", "unknown_name"), (11, "results", "results"), (12, "random", "random"),
        (12, "zero", "zero"), (12, "tiny", "tiny"), (12, "huge", "huge"), (13, "random", "silent"),
        (14, "read-only", "read-only"), (15, "bounds", "bounds_write"), (16, "bounds", "stale"),
        (17, "determinism", "determinism"), (18, "nan", "nan"), (19, "state", "state"),
        (20, "damaged-state", "damaged-state"), (21, "reset", "reset"), (22, "leaks", "leaks"),
        (23, "instances", "instances"), (24, "descriptor", "extension"),
    ]

    /// Every requirement that a check enforces has an offender for that check.
    @Test func everyCheckOfARequirementHasAnOffender() {
        for requirement in Self.requirements {
            for check in requirement.checks {
                let isThere = Self.offenders.contains { $0.number == requirement.number && $0.check == check }
                #expect(isThere, "R\(requirement.number), check \(check)")
            }
        }
    }

    @Test(arguments: offenders.map(\.check).indices)
    func anOffenderIsRefused(_ index: Int) throws {
        let (number, check, name) = Self.offenders[index]
        let folder = try TemporaryFolder()
        let source = BuildFolder.repository.appendingPathComponent("Tests/Host/BadPlugins/\(name).c").path
        let library = folder.path("lib\(name).so")
        let compiled = try Command.run([
            "cc", "-std=gnu99", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-I", Self.include, source, "-o",
            library, "-lm",
        ])
        try #require(compiled.status == 0, "\(compiled.output)")
        let checks = try report(library, ["--only", check]).checks
        #expect(checks.first { $0.check == check }?.status == "failed", "R\(number)")
    }

    // MARK: - What the host itself enforces

    /// A plugin in C whose table is spoilt by `header`, or whose hook by `hook`.
    private func library(
        _ name: String, header: String = "CRAFT_PLUGIN_HEADER(0)", hook: String, point: String = "gradient_combine",
        after: String = "", in folder: TemporaryFolder
    ) throws -> String {
        let file = folder.path("\(name).c")
        try Data(
            """
            #include <craft_plugin.h>
            #include <string.h>
            \(hook)
            static craft_hook hooks[] = {CRAFT_HOOK_ENTRY("\(point)", run)};
            static craft_plugin plugin = {\(header), "org.example.\(name)", "1.0.0", "A test.",
                CRAFT_NO_TABLE(craft_parameter), CRAFT_TABLE(hooks), NULL, NULL, NULL, NULL, NULL, NULL};
            \(after)
            CRAFT_PLUGIN_ENTRY(plugin, hooks)
            """.utf8
        ).write(to: URL(fileURLWithPath: file))
        let path = folder.path("lib\(name).so")
        let compiled = try Command.run([
            "cc", "-std=c99", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-I", Self.include, file, "-o", path,
        ])
        try #require(compiled.status == 0, "\(compiled.output)")
        return path
    }

    private static let passOn = """
        #define IN(X) X(f64_array, weights, "weights", "[k,m]")
        #define OUT(X) X(f64_array, combined, "weights", "[k,m]")
        CRAFT_HOOK(run, IN, OUT) {
            memcpy(combined->data, weights->data, (size_t)craft_count(weights) * sizeof(double));
            return CRAFT_OK;
        }
        """

    /// R3 and R4: what was built for another host is refused before anything of it runs.
    @Test func loadRefusesAnotherMinorAndSize() throws {
        let folder = try TemporaryFolder()
        _ = try PluginLibrary(path: library("sound", hook: Self.passOn, in: folder))
        let newer = try library("newer", header: "CRAFT_PLUGIN_HEADER_NEEDS(9u, 0)", hook: Self.passOn, in: folder)
        let small = try library(
            "small", hook: Self.passOn,
            after: "__attribute__((constructor)) static void spoil(void) { plugin.struct_size = 8; }", in: folder)
        for (path, word) in [(newer, "1.9"), (small, "8 bytes")] {
            let error = try #require(throws: PluginLoadError.self) { _ = try PluginLibrary(path: path) }
            #expect("\(error)".contains(word), "\(error)")
        }
    }

    /// R8 and R9: an unknown name, and one that nobody gives.
    @Test func composeRefusesNamesThatAreNot() throws {
        func reading(_ name: String) -> String {
            Self.passOn.replacingOccurrences(
                of: "#define IN(X)", with: "#define IN(X) X(f64, other, \"\(name)\", \"\")"
            ).replacingOccurrences(of: "return CRAFT_OK;", with: "(void)other; return CRAFT_OK;")
        }
        let folder = try TemporaryFolder()
        for (file, name) in [("unknown", "no_such_name"), ("absent", "loss.nobody")] {
            let path = try library(file, hook: reading(name), in: folder)
            let found = try problems("BaselineL1,\(path)")
            #expect(found.contains { $0.name == name }, "\(found)")
        }
        _ = try compose("BaselineL1,\(library("given", hook: reading("loss.action"), in: folder))")
    }

    /// R10: axes of one name have one size in a call.
    @Test func callRefusesArraysThatDoNotFit() throws {
        let composition = try compose("Sum")
        let values = ValueStore()
        let gram = TestArray<Double>([1, 0, 0, 1], shape: [1, 2, 2])
        let weights = TestArray<Double>([1, 1, 1], shape: [1, 3])
        values.set("gram", gram.view)
        values.set("weights", weights.view)
        let error = try #require(throws: PluginFailure.self) {
            try composition.run(.gradientCombine, values: values, step: 0)
        }
        #expect(error.message.contains("axis 'm'"), "\(error)")
        withExtendedLifetime((gram, weights)) {}
    }
}
