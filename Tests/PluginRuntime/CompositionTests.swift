import Foundation
import PluginRuntime
import TestSupport
import Testing

/// Plugins that do not fit together are refused before anything runs, all reasons at once.
@Suite struct CompositionTests {
    let plugins: CPlugin

    init() throws {
        plugins = try CPlugin()
        try plugins.build("Source", CPlugin.sum(["x"], "out.source"))
        try plugins.build("Reader", CPlugin.sum(["out.source"], "out.reader"))
        try plugins.build("Gain", CPlugin.sum(["gain.source", "out.source"], "gain.source"))
    }

    @Test func missingProviderNamesWhoCouldProvideIt() throws {
        let problem = try #require(try plugins.problems("Reader").first)
        #expect(problem.kind == .missingProvider)
        #expect(problem.name == "out.source")
        #expect(problem.neededBy == "Reader")
        #expect(problem.hint == "add Source to the plugins: it provides 'out.source'")
    }

    /// What depends on the missing name is not reported again.
    @Test func oneProblemPerMissingName() throws {
        let problems = try plugins.problems("Gain")
        #expect(problems.map(\.name) == ["out.source"])
        #expect(problems[0].problem.contains("nobody provides it"))
    }

    @Test func missingProviderSuggestsANearName() throws {
        try plugins.build("Typo", CPlugin.sum(["out.sorce"], "out.typo"))
        let problem = try #require(try plugins.problems("Source,Typo").first)
        #expect(problem.name == "out.sorce")
        #expect(problem.hint == "did you mean 'out.source', which Source provides?")
    }

    @Test func duplicateProviders() throws {
        let problems = try plugins.problems("Source,again=Source")
        #expect(problems.map(\.kind) == [.duplicateProvider])
        #expect(problems[0].providedBy == "Source, again")
        #expect(problems[0].name == "out.source")
    }

    @Test func duplicateInstances() throws {
        let problems = try plugins.problems("Source,Source")
        #expect(problems.map(\.kind).contains(.duplicateInstance))
        #expect(problems.first?.hint == "name one of them: second=Source")
    }

    @Test func unknownPlugin() throws {
        let problem = try #require(try plugins.problems("Sorce").first)
        #expect(problem.kind == .unknownPlugin)
        #expect(problem.problem.contains(plugins.folder.url.path))
        #expect(problem.hint == "did you mean 'Source'? available: Gain, Reader, Source")
        let path = try #require(try plugins.problems("./nowhere/libX.so").first)
        #expect(path.problem == "there is no file './nowhere/libX.so'")
        let strange = try #require(try plugins.problems("a*b").first)
        #expect(strange.problem.contains("neither a plugin name nor a path"))
    }

    @Test func pluginsByPath() throws {
        let composition = try plugins.compose("\(plugins.path("Source")),Reader")
        #expect(composition.plugins.map(\.instance) == ["Source", "Reader"])
    }

    @Test func unknownNamesPointsAndTypes() throws {
        try plugins.build("Strange", CPlugin.sum(["y"], "out.strange"))
        let unknown = try #require(try plugins.problems("Strange").first)
        #expect(unknown.kind == .unknownName)
        #expect(unknown.problem == "the host knows no value of this name")
        #expect(unknown.hint.contains("did you mean 'x'"))

        try plugins.build("Early", CPlugin.sum(["x"], "gain.a", point: "pre_backward"))
        let point = try #require(try plugins.problems("Early").first)
        #expect(point.kind == .wrongPoint)
        #expect(point.problem == "it cannot be produced at pre_backward")
        #expect(point.hint == "possible at plan, post_step")

        try plugins.build("Scalar", CPlugin.sum(["matrix"], "out.scalar", point: "pre_backward"))
        let type = try #require(try plugins.problems("Scalar").first)
        #expect(type.kind == .wrongType)
        #expect(type.problem == "the plugin declares f64, the host has f64[r,c]")
    }

    @Test func cycles() throws {
        try plugins.build("A", CPlugin.sum(["out.b"], "out.a"))
        try plugins.build("B", CPlugin.sum(["out.a"], "out.b"))
        let problem = try #require(try plugins.problems("Source,A,B").first)
        #expect(problem.kind == .cycle)
        #expect(problem.problem == "these hooks wait for each other: A needs 'out.b' from B needs 'out.a' from A")
    }

    /// Reading the previous step's value breaks the cycle, and is absent in the first step.
    @Test func previousValues() throws {
        try plugins.build("A", CPlugin.sum(["out.b@prev?"], "out.a"))
        try plugins.build("B", CPlugin.sum(["out.a"], "out.b"))
        let composition = try plugins.compose("B,A")
        #expect(composition.previousReads == ["out.b"])
        #expect(!composition.reads("out.b"))
        let values = ValueStore(remembering: composition.previousReads)
        var seen: [Double?] = []
        for step in 0..<3 {
            try composition.run(.postStep, values: values, step: step)
            seen.append(values.double("out.b"))
            values.advanceStep()
        }
        #expect(seen == [2, 4, 6])

        let restored = ValueStore(remembering: composition.previousReads)
        try restored.loadPrevious(values.savePrevious())
        try composition.run(.postStep, values: restored, step: 3)
        #expect(restored.double("out.b") == 8)
        #expect(throws: (any Error).self) { try restored.loadPrevious(Data("{\"out.b\":{\"type\":\"f32\"}}".utf8)) }
        #expect(throws: (any Error).self) { try restored.loadPrevious(Data("nonsense".utf8)) }
    }

    @Test func providersRunBeforeReaders() throws {
        let composition = try plugins.compose("Reader,Source")
        let values = ValueStore()
        values.set("x", 1.0)
        try composition.run(.postStep, values: values, step: 0)
        #expect(values.double("out.reader") == 3)
        #expect(composition.plan.points.map { $0.hooks.map(\.plugin) } == [["Source", "Reader"]])
        #expect(composition.provider(of: "out.source") == "Source")
        #expect(composition.provider(of: "x") == nil)
        #expect(composition.resolvedReads(at: .postStep) == ["x", "out.source"])
        #expect(composition.reads("x", at: .postStep))
        #expect(!composition.reads("x", at: .plan))
    }

    @Test func valueProducedOnlyLater() throws {
        try plugins.build("Early", CPlugin.sum(["out.source"], "out.early", point: "pre_backward"))
        let problem = try #require(try plugins.problems("Source,Early").first)
        #expect(problem.problem == "it is produced only later, at post_step by Source")
        #expect(problem.hint.contains("'out.source@prev'"))
    }

    /// A value the host starts and a plugin adapts is read as the step before left it.
    @Test func adaptedValueReachesTheNextStep() throws {
        try plugins.build("Use", CPlugin.sum(["gain.source"], "out.use", point: "pre_backward"))
        let composition = try plugins.compose("Source,Gain,Use")
        let values = ValueStore()
        values.set("gain.source", 0.5)
        values.set("x", 0.0)
        var seen: [Double?] = []
        for step in 0..<2 {
            try composition.run(.preBackward, values: values, step: step)
            seen.append(values.double("out.use"))
            try composition.run(.postStep, values: values, step: step)
        }
        #expect(seen == [1.5, 3.5])
    }

    /// Each hook of a chained name gets what the one before it in the list gave.
    @Test func chainsKeepListOrder() throws {
        func scale(_ name: String, _ expression: String) throws {
            try plugins.build(
                name,
                CPlugin.source(
                    """
                    #define IN(X) X(f64_array, in, "chain", "[c]")
                    #define OUT(X) X(f64_array, out, "chain", "[c]")
                    CRAFT_HOOK(run, IN, OUT) {
                        int64_t i;
                        for (i = 0; i < craft_count(in); i++) {
                            double v = craft_read_f64(in)[i];
                            craft_write_f64(out)[i] = \(expression);
                        }
                        return CRAFT_OK;
                    }
                    """, table: "CRAFT_HOOK_ENTRY(\"gradient_combine\", run)"))
        }
        try scale("Double", "2 * v")
        try scale("Plus", "v + 1")
        for (list, expected) in [("Double,Plus", [3.0, 5]), ("Plus,Double", [4, 6]), ("Plus,Double,b=Plus", [5, 7])] {
            let composition = try plugins.compose(list)
            for _ in 0..<2 {
                let start = TestArray<Double>([1, 2], shape: [2])
                let values = ValueStore()
                values.set("chain", start.view)
                try composition.run(.gradientCombine, values: values, step: 0)
                #expect(values.array("chain").map { Array($0.doubles) } == expected)
                #expect(Array(start.view.doubles) == [1, 2])
            }
        }
        #expect(try plugins.compose("Plus,Double").provider(of: "chain") == "Double")
    }

    @Test func pluginsHaveToAgreeOnSharedValues() throws {
        func choose(_ name: String, _ value: Int) throws {
            try plugins.build(
                name,
                CPlugin.source(
                    """
                    #define OUT(X) X(i64, choice, "choice", "")
                    CRAFT_HOOK(run, CRAFT_NONE, OUT) { *choice = \(value); return CRAFT_OK; }
                    """, table: "CRAFT_HOOK_ENTRY(\"plan\", run)"))
        }
        try choose("One", 1)
        try choose("Two", 2)
        try plugins.compose("One,b=One").run(.plan, values: ValueStore(), step: 0)
        let error = try #require(throws: PluginFailure.self) {
            try plugins.compose("One,Two").run(.plan, values: ValueStore(), step: 0)
        }
        #expect(error.message.contains("it sets 'choice' to 2, but One sets it to 1"))
    }

    @Test func everyProblemAtOnceInOneTable() throws {
        try Data("text".utf8).write(to: URL(fileURLWithPath: plugins.path("Text")))
        let list = "Reader,Nowhere,Text,Source:speed=3,again=Source"
        let problems = try plugins.problems(list)
        #expect(
            Set(problems.map(\.kind)) == [.unknownPlugin, .unusablePlugin, .unknownSetting, .duplicateProvider])
        let text = CompositionError(problems: problems).description
        #expect(text.contains("(4 problems)"))
        for words in ["name", "needed by", "provided by", "Nowhere", "ELF header", "'speed'", "Source, again"] {
            #expect(text.contains(words), "\(text)")
        }
        #expect(text.split(separator: "\n").count == 6)
    }

    @Test func planIsReadableAndRoundTrips() throws {
        let composition = try plugins.compose("Source,Reader,Gain")
        let text = composition.planText
        for words in ["post_step", "reads  x", "gives  out.source", "Reader, Gain"] {
            #expect(text.contains(words), "\(text)")
        }
        #expect(text.split(separator: "\n").allSatisfy { $0.last != " " })
        let data = try JSONEncoder().encode(composition.planJSON)
        #expect(try JSONDecoder().decode(CompositionPlan.self, from: data) == composition.planJSON)
        #expect(composition.plugins.allSatisfy { $0.sha256.count == 64 })
    }

    @Test func noPluginsIsAComposition() throws {
        let composition = try plugins.compose("")
        try composition.run(.postStep, values: ValueStore(), step: 0)
        #expect(try composition.saveState().isEmpty)
        #expect(composition.planText.contains("no plugins"))
    }
}
