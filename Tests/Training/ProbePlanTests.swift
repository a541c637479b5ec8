import Models
import PluginRuntime
import TestSupport
import Testing
import Training

/// What a plugin may ask of a probe, and what it is told when it asks for something else.
@Suite struct ProbePlanTests {
    private let plugins: CompiledPlugin

    init() throws { plugins = try CompiledPlugin() }

    /// A plugin with a probe `p` of one tap; `plan` is C code that fills `interval`, `share`, `tokens`, `layer` and `row`.
    private func plugin(_ name: String, _ plan: String, withInterval: Bool = true) throws -> String {
        try plugins.build(
            name,
            """
            #define PLAN_OUT(X) \(withInterval ? "X(i64, interval, \"probe.p.interval\", \"\")" : "") \\
                X(f64, share, "probe.p.share.mix", "") X(i64, cameras, "probe.p.cameras", "") \\
                X(i64, layer, "probe.p.tap.a.layer", "") X(i64, tokens, "probe.p.tap.a.tokens", "") \\
                X(i64, pooling, "probe.p.tap.a.pooling", "") \\
                X(i64_array, prompts, "probe.p.prompts", "[2,8]")
            CRAFT_HOOK(plan, CRAFT_NONE, PLAN_OUT) {
                int64_t *row = craft_write_i64(prompts);
                \(withInterval ? "*interval = 1;" : "")
                *share = 1; *cameras = 0; *layer = 1; *tokens = 1; *pooling = 0;
                if (craft_write_text(prompts, 0, "what?") || craft_write_text(prompts, 1, "")) return CRAFT_FAILED;
                (void)row;
                \(plan)
                return CRAFT_OK;
            }
            #define IN(X) X(f32_array, f, "probe.p.feature.a", "[b,t,d]")
            #define OUT(X) X(f64, loss, "loss.p", "") X(f32_array, df, "cotangent.p.probe.p.feature.a", "[b,t,d]") \\
                X(f64, tokens, "metric.tokens", "")
            CRAFT_HOOK(objective, IN, OUT) {
                int64_t i, n = craft_count(f);
                *loss = 0;
                *tokens = (double)f->shape[1];
                for (i = 0; i < n; i++) {
                    *loss += 0.5 * craft_read_f32(f)[i] * craft_read_f32(f)[i];
                    craft_write_f32(df)[i] = craft_read_f32(f)[i];
                }
                return CRAFT_OK;
            }
            """, table: "CRAFT_HOOK_ENTRY(\"plan\", plan), CRAFT_HOOK_ENTRY(\"pre_backward\", objective)")
    }

    @Test(arguments: [
        ("*interval = -1;", "plugin Refused, plan hook: its result 'probe.p.interval': it is -1; expected 0 (off)"),
        ("*share = -0.5;", "'probe.p.share.mix': it is -0.5; expected 0 or more"),
        ("*tokens = 3;", "'probe.p.tap.a.tokens': it asks for action queries (3), which a probe's prompts do not have"),
        ("*tokens = 9;", "it sets 'probe.p.tap.a.tokens' to 9; there are 0 (visual), 1 (visual_and_prompt)"),
        ("*layer = 7;", "'probe.p.tap.a.layer': it asks for hidden state 7; the model has 0 to 3"),
        ("*cameras = 3;", "'probe.p.cameras': it is 3; expected 0 (all) to the model's 2"),
        ("row[0] = 0; row[1] = row[2] = row[3] = row[4] = 0;", "the probe has no prompts"),
        ("row[1] = 300;", "'probe.p.prompts': row 0 is not a text; expected its UTF-8 bytes"),
        ("row[1] = 0xff;", "'probe.p.prompts': row 0 is not a text"),
        ("row[1] = 0;", "'probe.p.prompts': row 0 is not a text"),
    ]) func refuses(_ code: String, _ words: String) throws {
        let fixture = try StepFixture()
        let path = try plugin("Refused", code)
        let error = try #require(throws: (any Error).self) { try fixture.step(path) }
        #expect("\(error)".contains(words), "\(error)")
    }

    @Test func anIntervalIsNeeded() throws {
        let fixture = try StepFixture()
        let path = try plugin("Endless", "", withInterval: false)
        let error = try #require(throws: PluginFailure.self) { try fixture.step(path) }
        #expect(error.description.contains("probe p has no interval"), "\(error)")
    }

    @Test func ratesOfUnknownGroupsAreRefused() throws {
        let path = try plugins.build(
            "Rates",
            """
            #define OUT(X) X(f64, rate, "lr_scale.tower", "")
            CRAFT_HOOK(plan, CRAFT_NONE, OUT) { *rate = 0.5; return CRAFT_OK; }
            """, table: "CRAFT_HOOK_ENTRY(\"plan\", plan)")
        let error = try #require(throws: PluginFailure.self) { try StepFixture().step("BaselineL1,\(path)") }
        #expect(error.description.contains("no parameter group 'tower'; the groups are vision,"), "\(error)")
    }

    /// An interval of 0 turns the probe off, and with it the plugin.
    @Test func offIsOff() throws {
        let results = try ["BaselineL1", "BaselineL1,\(try plugin("Off", "*interval = 0;"))"].map { list in
            let fixture = try StepFixture()
            let step = try fixture.step(list)
            let report = try step.run(step: 0, from: RandomBatches(fixture.model.config, batchSize: 4))
            #expect(report.metrics["loss.p"] == nil)
            return fixture.allValues
        }
        #expect(results[0] == results[1])
    }

    /// Visual tokens of the wanted cameras and the prompt's, without queries: 9 patches an image, "what?" is 5 tokens.
    @Test(arguments: [
        ("", 2 * 9 + 4), ("*cameras = 1;", 9 + 4), ("*cameras = 1; *tokens = 0;", 9), ("*tokens = 4;", 18 + 5),
    ])
    func tokensOfAProbe(_ code: String, _ expected: Int) throws {
        let fixture = try StepFixture()
        let step = try fixture.step("BaselineL1,\(try plugin("Counts", code + "*layer = 2;"))")
        let report = try step.run(step: 0, from: RandomBatches(fixture.model.config, batchSize: 4))
        #expect(report.metrics["tokens"] == Double(expected))
        #expect((report.metrics["loss.p"] ?? 0) > 0)
    }
}
