import Models
import PluginRuntime
import Tensors
import TestSupport
import Testing
import Training

/// What `gradient_combine` hooks are given, and what becomes of what they give back.
@Suite struct GradientCombinationTests {
    let plugins: CompiledPlugin

    init() throws { plugins = try CompiledPlugin() }

    /// Gives the first objective's gradient back as the combined one.
    private func firstRow() throws -> String {
        try plugins.build(
            "FirstRow",
            """
            #define IN(X) X(f32_array, grads, "grads", "[m,n]")
            #define OUT(X) X(f32_array, combined, "combined", "[n]")
            CRAFT_HOOK(run, IN, OUT) {
                int64_t i;
                for (i = 0; i < grads->shape[1]; i++) craft_write_f32(combined)[i] = craft_read_f32(grads)[i];
                return CRAFT_OK;
            }
            """, table: "CRAFT_HOOK_ENTRY(\"gradient_combine\", run)")
    }

    @Test func aCombinedGradientReplacesTheWeightedSum() throws {
        let row = try firstRow()
        var trained: [[Float]] = []
        var norms: [[Double]] = []
        for list in ["BaselineL1", "BaselineL1,\(row)", "BaselineL1,AnchorVariants:weight=5,\(row)"] {
            let fixture = try StepFixture()
            let step = try fixture.step(list)
            let source = RandomBatches(fixture.model.config, batchSize: 4)
            let reports = try (0..<3).map { try step.run(step: $0, from: source) }
            trained.append(fixture.allValues)
            norms.append(reports.compactMap { $0.metrics["gradient_norm"] })
        }
        #expect(trained[0] == trained[1])
        // With a second objective whose gradient is dropped, all that remains of it is which tensors decay.
        #expect(trained[0] == trained[2])
        for (want, have) in zip(norms[0], norms[1]) { #expect(abs(want - have) <= 1e-9 * want) }
    }

    /// `grads` in block order: each block's inner products are those of `gram`, its length is `numel`.
    @Test(arguments: BlockScope.allCases) func gradientsComeInBlockOrder(_ scope: BlockScope) throws {
        let check = try plugins.build(
            "Check",
            """
            #define PLAN_OUT(X) X(i64, scope, "block_scope", "")
            CRAFT_HOOK(plan, CRAFT_NONE, PLAN_OUT) { *scope = SETTING(0); return CRAFT_OK; }
            #define IN(X) X(f64_array, gram, "gram", "[k,m,m]") X(f32_array, grads, "grads", "[m,n]") \\
                X(i64_array, numel, "numel", "[k]") X(f64, norm, "gradient_norm.action", "") \\
                X(f64, second, "gradient_norm.retention", "") X(i64, index, "index.action", "")
            #define OUT(X) X(f64, blocks, "metric.blocks", "") X(f64, count, "metric.count", "") \\
                X(f64, length, "metric.length", "") X(f64, other, "metric.other", "")
            CRAFT_HOOK(run, IN, OUT) {
                int64_t k = gram->shape[0], m = gram->shape[1], n = grads->shape[1], b, i, j, c, start = 0;
                double whole = 0;
                for (b = 0; b < k; b++) {
                    int64_t size = craft_read_i64(numel)[b];
                    for (i = 0; i < m; i++) {
                        for (j = 0; j < m; j++) {
                            double sum = 0, want = craft_read_f64(gram)[(b * m + i) * m + j];
                            for (c = start; c < start + size; c++)
                                sum += (double)craft_read_f32(grads)[i * n + c] * craft_read_f32(grads)[j * n + c];
                            if (fabs(sum - want) > 1e-6 * fabs(want) + 1e-12)
                                return craft_fail(error, "block %lld: %g, the Gram matrix has %g", (long long)b, sum, want);
                            if (i == index && j == index) whole += sum;
                        }
                    }
                    start += size;
                }
                if (start != n) return craft_fail(error, "numel adds up to %lld of %lld", (long long)start, (long long)n);
                if (fabs(sqrt(whole) - norm) > 1e-6 * norm) return craft_fail(error, "norm %g, not %g", sqrt(whole), norm);
                *blocks = (double)k; *count = (double)n; *length = norm; *other = second;
                return CRAFT_OK;
            }
            """, table: "CRAFT_HOOK_ENTRY(\"plan\", plan), CRAFT_HOOK_ENTRY(\"gradient_combine\", run)",
            settings: ["scope"])
        let fixture = try StepFixture()
        let step = try fixture.step("BaselineL1,AnchorVariants,\(check):scope=\(scope.rawValue)")
        let source = RandomBatches(fixture.model.config, batchSize: 2)
        let reports = try (0..<2).map { try step.run(step: $0, from: source) }
        let trainable = fixture.model.parameters.parameters.filter(\.isTrainable)
        let metrics = reports[1].metrics
        #expect(metrics["count"] == Double(trainable.reduce(0) { $0 + $1.count }))
        #expect(metrics["blocks"] == Double(Set(trainable.map { Self.block(of: $0.name, scope) }).count))
        #expect((metrics["length"] ?? 0) > 0 && (metrics["other"] ?? 0) > 0)
    }

    /// Blocks by their description in the registry, told from names alone.
    private static func block(of name: String, _ scope: BlockScope) -> String {
        let parts = name.split(separator: ".").map(String.init)
        let module = parts.prefix(parts[0] == "vision_backbone" ? 2 : 1).joined(separator: ".")
        switch scope {
        case .tensor: return name
        case .module: return module
        case .global: return ""
        case .layer:
            guard let index = parts.firstIndex(where: { ["layers", "blocks", "mlp_resnet_blocks"].contains($0) }) else {
                return module
            }
            return parts[...(index + 1)].joined(separator: ".")
        }
    }

    @Test func weightsGivenAfterACombinedGradientAreRefused() throws {
        let row = try firstRow()
        let fixture = try StepFixture()
        let error = try #require(throws: CompositionError.self) {
            try fixture.step("BaselineL1,AnchorVariants,\(row),CRaFTProjection")
        }
        #expect(error.description.contains("list CRaFTProjection before FirstRow"), "\(error)")
        _ = try fixture.step("BaselineL1,AnchorVariants,CRaFTProjection,\(row)")
    }

    @Test func aCombinedGradientOfAnotherLengthIsRefused() throws {
        let short = try plugins.build(
            "Short",
            """
            #define OUT(X) X(f32_array, combined, "combined", "[3]")
            CRAFT_HOOK(run, CRAFT_NONE, OUT) {
                int i;
                for (i = 0; i < 3; i++) craft_write_f32(combined)[i] = 1;
                return CRAFT_OK;
            }
            """, table: "CRAFT_HOOK_ENTRY(\"gradient_combine\", run)")
        let fixture = try StepFixture()
        let step = try fixture.step("BaselineL1,\(short)")
        let error = try #require(throws: PluginFailure.self) {
            try step.run(step: 0, from: RandomBatches(fixture.model.config, batchSize: 2))
        }
        #expect(error.plugin == "Short" && error.message.contains("'combined' has 3 elements"), "\(error)")
    }

    @Test func seedRateAndThePreviousStepAreThere() throws {
        let reader = try plugins.build(
            "Reader",
            """
            #define IN(X) X(f64_array, gram, "gram", "[k,m,m]") X(optional_f64_array, last, "gram@prev", "[k,m,m]") \\
                X(optional_f64_array, weights, "weights@prev", "[k,m]") X(optional_f64, loss, "loss.action@prev", "") \\
                X(i64, seed, "seed", "") X(f64, lr, "lr", "")
            #define OUT(X) X(f64, now, "metric.now", "") X(optional_f64, before, "metric.before", "") \\
                X(optional_f64, weight, "metric.weight", "") X(optional_f64, lost, "metric.lost", "") \\
                X(f64, start, "metric.start", "") X(f64, rate, "metric.rate", "")
            CRAFT_HOOK(run, IN, OUT) {
                *now = craft_read_f64(gram)[0]; *start = (double)seed; *rate = lr;
                if (last) *before = craft_read_f64(last)[0];
                if (weights) *weight = craft_read_f64(weights)[0];
                if (loss) *lost = *loss;
                return CRAFT_OK;
            }
            """, table: "CRAFT_HOOK_ENTRY(\"gradient_combine\", run)")
        let fixture = try StepFixture()
        var settings = StepSettings()
        settings.seed = 41
        let step = try fixture.step("BaselineL1,\(reader)", settings: settings, learningRate: 0.25)
        let source = RandomBatches(fixture.model.config, batchSize: 2)
        let reports = try (0..<3).map { try step.run(step: $0, from: source).metrics }
        #expect(reports[0]["before"] == nil && reports[0]["weight"] == nil && reports[0]["lost"] == nil)
        for (last, this) in zip(reports, reports.dropFirst()) {
            #expect(this["before"] == last["now"])
            #expect(this["lost"] == last["loss.action"])
            #expect(this["weight"] == 1)
        }
        #expect(reports[0]["start"] == 41 && reports[0]["rate"] == 0.25)
    }
}
