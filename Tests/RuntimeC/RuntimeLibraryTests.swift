import Foundation
import PluginRuntime
import TestSupport
import Testing

/// `libcraft_runtime.so` as a host in C uses it: compiled against the header alone, linked with the library alone.
@Suite struct RuntimeLibraryTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private static let plugins =
        "BaselineL1,AnchorVariants,CRaFTProjection:scope=layer,CRaFTDual:budget=0.01:lr=0.5:init=0.3"

    private func compile(_ name: String) throws -> String {
        let program = folder.path(name)
        let sources = BuildFolder.repository.path
        let result = try Command.run([
            "cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "-I", sources + "/Sources/RuntimeC/include", "-I",
            sources + "/Sources/PluginAPI/include", sources + "/Tests/RuntimeC/Programs/\(name).c", "-o", program,
            "-L", BuildFolder.url.path, "-lcraft_runtime", "-Wl,-rpath,\(BuildFolder.url.path)", "-lpthread", "-lm",
        ])
        try #require(result.status == 0, "\(result.output)")
        return program
    }

    /// Sizes of a run, as conversation.c reads them.
    private struct Sizes {
        var steps = 6, micro = 2, b = 2, h = 4, a = 3, t = 5, d = 8, k = 7
        var header: [Int64] { [steps, micro, b, h, a, t, d, k].map { Int64($0) } }
    }

    /// Inputs of a run, in the order in which they are stored.
    private struct Inputs {
        struct Step {
            /// By micro-batch: predicted and target actions, then features and anchors of two taps.
            var arrays: [[[Float]]]
            var gram: [Double]
        }

        let sizes: Sizes
        let steps: [Step]

        init(seed: UInt64, _ sizes: Sizes = Sizes()) {
            self.sizes = sizes
            var state = seed
            func uniform() -> Double {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return Double(state >> 11) * 0x1p-53 * 2 - 1
            }
            steps = (0..<sizes.steps).map { _ in
                let arrays = (0..<sizes.micro).map { _ in
                    (0..<6).map { array in
                        (0..<(array < 2 ? sizes.b * sizes.h * sizes.a : sizes.b * sizes.t * sizes.d)).map { _ in
                            Float(uniform())
                        }
                    }
                }
                // Of two vectors of three numbers: a Gram matrix there can be.
                let gram = (0..<sizes.k).flatMap { _ in
                    let (one, two) = ((0..<3).map { _ in uniform() }, (0..<3).map { _ in uniform() })
                    func dot(_ x: [Double], _ y: [Double]) -> Double { zip(x, y).reduce(0) { $0 + $1.0 * $1.1 } }
                    return [dot(one, one), dot(one, two), dot(one, two), dot(two, two)]
                }
                return Step(arrays: arrays, gram: gram)
            }
        }

        var data: Data {
            var data = sizes.header.withUnsafeBytes { Data($0) }
            for step in steps {
                for array in step.arrays.flatMap(\.self) { data += array.withUnsafeBytes { Data($0) } }
                data += step.gram.withUnsafeBytes { Data($0) }
            }
            return data
        }
    }

    /// What the trainer's own session makes of the inputs, in the order in which conversation.c writes it.
    private func reference(_ inputs: Inputs) throws -> [Double] {
        let sizes = inputs.sizes
        let session = HookSession(
            try Composition(
                PluginRequest.parseList(Self.plugins), search: PluginSearch(paths: [BuildFolder.url.path]),
                registry: .training))
        var facts = PlanFacts()
        (facts.hiddenStates, facts.hiddenSize, facts.visualTokens) = (5, sizes.d, sizes.t)
        (facts.queries, facts.batch, facts.steps, facts.seed) = (sizes.t, sizes.b, sizes.steps, 7)
        facts.blocks = { scope in
            #expect(scope == .layer)
            return BlockFacts(numel: (0..<sizes.k).map { Int64(10 + $0) })
        }
        try session.plan(facts)
        let names = [
            "predicted_actions", "target_actions", "feature.AnchorVariants.visual", "anchor.AnchorVariants.visual",
            "feature.AnchorVariants.query", "anchor.AnchorVariants.query",
        ]
        var outputs: [Double] = []
        for (index, step) in inputs.steps.enumerated() {
            session.begin(step: index, rate: 1e-4)
            for arrays in step.arrays {
                for (position, (name, array)) in zip(names, arrays).enumerated() {
                    let shape = position < 2 ? [sizes.b, sizes.h, sizes.a] : [sizes.b, sizes.t, sizes.d]
                    session.values.set(name, ArrayView(copying: array, as: .f32, shape: shape))
                }
                try session.microBatch()
                for name in ["loss.action", "loss.retention"] {
                    outputs.append(try #require(session.values.double(name)))
                }
                for name in [
                    "action.predicted_actions", "retention.feature.AnchorVariants.visual",
                    "retention.feature.AnchorVariants.query",
                ] {
                    outputs.append(Double(try #require(session.values.array("cotangent.\(name)")).floats[0]))
                }
            }
            #expect(session.closeBatch() == [0, 1])
            outputs += try #require(try session.combine(GradientFacts(gram: step.gram))).weights
            let outcome = try session.finish()
            outputs += session.multipliers
            outputs.append(try #require(outcome.metrics["conflict_ratio"]))
        }
        return outputs
    }

    private func outputs(_ name: String) throws -> [Double] {
        try Data(contentsOf: URL(fileURLWithPath: folder.path(name))).withUnsafeBytes {
            Array($0.bindMemory(to: Double.self))
        }
    }

    private func bits(_ numbers: [Double]) -> [UInt64] { numbers.map(\.bitPattern) }

    /// All of CRaFT, saved and taken up on the way: the weights, multipliers, losses and cotangents of the trainer's session.
    @Test(arguments: [0, 3, 99]) func aProgramInCGetsTheTrainersBits(_ split: Int) throws {
        let inputs = Inputs(seed: 5)
        try inputs.data.write(to: URL(fileURLWithPath: folder.path("inputs")))
        let result = try Command.run([
            try compile("conversation"), Self.plugins, BuildFolder.url.path, folder.path("inputs"),
            folder.path("outputs"), "\(split)",
        ])
        try #require(result.status == 0, "\(result.output)")
        let expected = try reference(inputs)
        #expect(try bits(outputs("outputs")) == bits(expected))
        // The reference has something to get wrong: conflicts, and a multiplier that moves.
        let width = 2 * inputs.sizes.micro + 3 * inputs.sizes.micro + 2 * inputs.sizes.k + 3
        let last = Array(expected.suffix(width))
        #expect(expected.count == inputs.sizes.steps * width)
        #expect(last[10..<10 + 2 * inputs.sizes.k].contains { $0 != 1 && $0 != last[width - 2] })
        #expect(last[width - 2] != 0.3 && last[width - 1] > 0)
    }

    @Test func twoSessionsOnTwoThreads() throws {
        let inputs = [Inputs(seed: 1), Inputs(seed: 2)]
        for (index, one) in inputs.enumerated() {
            try one.data.write(to: URL(fileURLWithPath: folder.path("in\(index)")))
        }
        let program = try compile("conversation")
        for _ in 0..<5 {
            let result = try Command.run([
                program, Self.plugins, BuildFolder.url.path, folder.path("in0"), folder.path("out0"), "2",
                folder.path("in1"), folder.path("out1"),
            ])
            try #require(result.status == 0, "\(result.output)")
            for (index, one) in inputs.enumerated() {
                #expect(try bits(outputs("out\(index)")) == bits(reference(one)))
            }
        }
    }

    /// No wrong input ends the process; each gets a sentence that names the function.
    @Test func wrongInputGetsASentence() throws {
        let result = try Command.run([try compile("misuse"), BuildFolder.url.path])
        try #require(result.status == 0, "\(result.status) \(result.output)")
        var sentences: [String: String] = [:]
        for line in result.standardOutput.split(separator: "\n") {
            let fields = line.split(separator: " ", maxSplits: 2)
            guard fields.count == 3, Int(fields[1]) != nil else { continue }
            sentences[String(fields[0])] = String(fields[2])
        }
        #expect(sentences.count > 60)
        for (what, words) in [
            ("open.null", "plugins is NULL"), ("open.unknown", "the plugins do not fit together"),
            ("open.objective", "given twice"), ("session.garbage", "no such session"), ("fact.name", "hidden_states"),
            ("plan.blocks", "scope 'tensor'"), ("blocks.group", "block 1 has group 77"),
            ("name.unknown", "did you mean 'predicted_actions'?"), ("set.type", "is f32[b,h,a], not an f64"),
            ("set.own", "the session says it itself"), ("array.strides", "row-major"), ("array.aligned", "aligned"),
            ("begin.early", "nothing is planned yet"), ("combine.blocks", "gram has 3 blocks"),
            ("combine.room", "room for 3 weights"), ("combine.nan", "block 1 ('block 1')"),
            ("finish.early", "not combined yet"), ("rates.early", "not combined yet"),
            ("gram.offsets", "offset 1 is 1"), ("gram.row", "row 1 is NULL"),
            ("load.cut", "damaged"), ("close.twice", "no such session"),
        ] {
            #expect(sentences[what]?.contains(words) == true, "\(what): \(sentences[what] ?? "")")
        }
        for (what, sentence) in sentences where what.hasPrefix("combine") {
            #expect(sentence.hasPrefix("craft_runtime_combine: "), "\(what): \(sentence)")
        }
        #expect(sentences["thread"] == "[]", "a failure on one thread is none on another")
    }

    /// Inner products, sums, learning rates of blocks, the way back, and plugins that end a run.
    @Test func aroundTheSteps() throws {
        try build(
            "Rates",
            """
            #include <craft_plugin.h>
            #define COMBINE_IN(X) X(f64_array, rates, "rate", "[k]")
            #define COMBINE_OUT(X) X(f64_array, result, "rate", "[k]")
            CRAFT_HOOK(combine, COMBINE_IN, COMBINE_OUT) {
                for (int64_t b = 0; b < rates->shape[0]; b++) craft_write_f64(result)[b] = 0.5 + (double)b;
                return CRAFT_OK;
            }
            #define STEP_IN(X) X(f64_array, shares, "pull", "[k]")
            #define STEP_OUT(X) X(f64_array, result, "pull", "[k]")
            CRAFT_HOOK(step, STEP_IN, STEP_OUT) {
                for (int64_t b = 0; b < shares->shape[0]; b++) craft_write_f64(result)[b] = 0.25;
                return CRAFT_OK;
            }
            static craft_hook hooks[] = {
                CRAFT_HOOK_ENTRY("gradient_combine", combine), CRAFT_HOOK_ENTRY("post_step", step)};
            static const craft_plugin plugin = {CRAFT_PLUGIN_HEADER_NEEDS(2u, 0), "org.example.rates", "1.0.0", "Rates.",
                CRAFT_NO_TABLE(craft_parameter), CRAFT_TABLE(hooks), NULL, NULL, NULL, NULL, NULL, NULL};
            CRAFT_PLUGIN_ENTRY(plugin, hooks)
            """)
        let result = try Command.run([try compile("around"), "\(folder.url.path):\(BuildFolder.url.path)"])
        try #require(result.status == 0, "\(result.status) \(result.output)")
        let reasons = result.standardOutput.split(separator: "\n")
        #expect(
            reasons == [
                "plugin EarlyStop ended the run at its post_step hook, step 1 (stop = 5.0)",
                "plugin EarlyStop ended the run at its evaluate hook, step 2 (stop = 1.0)",
            ])
    }

    private func build(_ plugin: String, _ text: String) throws {
        let source = folder.path(plugin + ".c")
        try Data(text.utf8).write(to: URL(fileURLWithPath: source))
        let result = try Command.run([
            "cc", "-shared", "-fPIC", "-I", BuildFolder.repository.path + "/Sources/PluginAPI/include", source, "-o",
            folder.path("lib\(plugin).so"),
        ])
        try #require(result.status == 0, "\(result.output)")
    }

    /// What the library exports and needs.
    @Test func exportsItsFunctionsAndNeedsNoFullFoundation() throws {
        let library = BuildFolder.url.appendingPathComponent("libcraft_runtime.so").path
        let symbols = try Command.run(["nm", "-D", "--defined-only", library])
        try #require(symbols.status == 0, "\(symbols.output)")
        let names = symbols.standardOutput.split(separator: "\n").compactMap { $0.split(separator: " ").last }
        #expect(names.count > 20 && names.allSatisfy { $0.hasPrefix("craft_runtime_") }, "\(names)")
        let header = try String(
            contentsOf: BuildFolder.repository.appendingPathComponent("Sources/RuntimeC/include/craft_runtime.h"),
            encoding: .utf8)
        for name in names { #expect(header.contains("\(name)("), "\(name) is not in the header") }
        let dynamic = try Command.run(["readelf", "-d", library])
        let needed = dynamic.standardOutput.split(separator: "\n").filter { $0.contains("(NEEDED)") }
        #expect(needed.contains { $0.contains("libFoundationEssentials.so") })
        for other in ["libFoundation.so", "libFoundationInternationalization.so", "icu", "libcrypto", "libopenblas"] {
            #expect(!needed.contains { $0.contains(other) }, "\(needed)")
        }
    }

    /// Of several sessions, the one whose hook crashes is named; the host's handler has its turn after that.
    @Test func aCrashNamesThePluginOfItsThread() throws {
        let hook = """
            #include <craft_plugin.h>
            #include <unistd.h>
            #define IN(X) X(f64_array, weights, "weights", "[k,m]")
            CRAFT_HOOK(rule, IN, CRAFT_NONE) { BODY return weights ? CRAFT_OK : CRAFT_FAILED; }
            static craft_hook hooks[] = {CRAFT_HOOK_ENTRY("gradient_combine", rule)};
            static const craft_plugin plugin = {CRAFT_PLUGIN_HEADER(0), "org.example.rule", "1.0.0", "A rule.",
                CRAFT_NO_TABLE(craft_parameter), CRAFT_TABLE(hooks), NULL, NULL, NULL, NULL, NULL, NULL};
            CRAFT_PLUGIN_ENTRY(plugin, hooks)
            """
        for (name, body) in [("Slow", "sleep(20);"), ("Bad", "*(volatile int *)8 = 1;")] {
            try build(name, hook.replacingOccurrences(of: "BODY", with: body))
        }
        let result = try Command.run([try compile("crash"), folder.url.path, "Bad", "Slow"])
        #expect(result.status == 9, "\(result.output)")
        #expect(
            result.standardError.contains("plugin Bad, gradient_combine hook, step 4: crashed with SIGSEGV"),
            "\(result.standardError)")
        #expect(!result.standardError.contains("Slow") && result.standardError.contains("the host's own handler"))
    }
}
