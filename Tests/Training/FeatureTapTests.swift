import Models
import PluginRuntime
import TestSupport
import Testing
import Training

/// Every kind of tap: which layer, which tokens, pooled or not.
@Suite struct FeatureTapTests {
    private static let probe = """
        #define PLAN_OUT(X) X(i64, layer, "tap.probe.layer", "") X(i64, tokens, "tap.probe.tokens", "") \\
            X(i64, pooling, "tap.probe.pooling", "")
        CRAFT_HOOK(plan, CRAFT_NONE, PLAN_OUT) {
            *layer = SETTING(0); *tokens = SETTING(1); *pooling = SETTING(2);
            return CRAFT_OK;
        }
        #define IN(X) X(f32_array, feature, "feature.probe", "[b,t,d]") X(f32_array, anchor, "anchor.probe", "[b,t,d]") \\
            X(f32_array, mask, "mask.probe", "[b,t]")
        #define OUT(X) X(f64, loss, "loss.probe", "") \\
            X(f32_array, cotangent, "cotangent.probe.feature.probe", "[b,t,d]") X(f64, drift, "metric.drift", "") \\
            X(f64, samples, "metric.samples", "") X(f64, tokens, "metric.tokens", "") X(f64, width, "metric.width", "") \\
            X(f64, present, "metric.present", "")
        CRAFT_HOOK(objective, IN, OUT) {
            int64_t i, d = feature->shape[2];
            *loss = 0; *drift = 0; *present = 0;
            for (i = 0; i < craft_count(mask); i++) *present += craft_read_f32(mask)[i];
            for (i = 0; i < craft_count(feature); i++) {
                float f = craft_read_f32(feature)[i], m = craft_read_f32(mask)[i / d];
                *drift = fmax(*drift, fabs((double)f - craft_read_f32(anchor)[i]));
                *loss += (double)m * f * f / 2;
                craft_write_f32(cotangent)[i] = m * f;
            }
            *samples = (double)feature->shape[0]; *tokens = (double)feature->shape[1]; *width = (double)d;
            return CRAFT_OK;
        }
        """

    @Test func everyLayerTokenSetAndPooling() throws {
        let plugins = try CompiledPlugin()
        let library = try plugins.build(
            "Probe", Self.probe,
            table: "CRAFT_HOOK_ENTRY(\"plan\", plan), CRAFT_HOOK_ENTRY(\"pre_backward\", objective)",
            settings: ["layer", "tokens", "pooling"])
        for layer in 0...3 {
            for tokens in FeatureTap.Tokens.allCases {
                for pooling in 0...2 {
                    let place = "layer \(layer), \(tokens), pooling \(pooling)"
                    let fixture = try StepFixture()
                    let step = try fixture.step(
                        "\(library):layer=\(layer):tokens=\(tokens.rawValue):pooling=\(pooling)", batchSize: 3)
                    let source = RandomBatches(fixture.model.config, batchSize: 3)
                    let first = try step.run(step: 0, from: source).metrics
                    #expect(first["drift"] == 0, "\(place): the model has not moved yet")
                    #expect(first["samples"] == 3 && first["width"] == 24, "\(place)")
                    let visual = Double(fixture.model.config.patchesPerImage * fixture.model.config.cameras)
                    let count = first["tokens"] ?? 0
                    if pooling > 0 {
                        #expect(count == 1 && first["present"] == 3, "\(place)")
                    } else {
                        // Prompts of 2 to 5 tokens in a batch; five queries.
                        let present = first["present"] ?? 0
                        switch tokens {
                        case .visual: #expect(count == visual && present == 3 * visual, "\(place)")
                        case .query: #expect(count == 5 && present == 15, "\(place)")
                        default: #expect(present <= 3 * count && present > 0, "\(place)")
                        }
                    }
                    let norm = first["gradient_norm"] ?? 0
                    // The embeddings of prompt tokens and queries are parameters too: nothing here is a constant.
                    #expect(norm > 0, "\(place): no gradient")
                    let second = try step.run(step: 1, from: source).metrics
                    #expect((second["drift"] ?? 0) > 0, "\(place): the features did not move")
                }
            }
        }
    }
}
