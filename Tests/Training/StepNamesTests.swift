import Data
import Models
import PluginRuntime
import Tensors
import TestSupport
import Testing
import Training

/// What ABI 1.2 lets plugins see and decide in a step, each against the arithmetic written out here.
@Suite struct StepNamesTests {
    let plugins: CompiledPlugin

    init() throws { plugins = try CompiledPlugin() }

    /// A plugin whose hooks are C code.
    private func build(_ name: String, _ code: String, _ hooks: [(point: String, name: String)]) throws -> String {
        try plugins.build(
            name, code,
            table: hooks.map { "CRAFT_HOOK_ENTRY(\"\($0.point)\", \($0.name))" }.joined(separator: ", "))
    }

    private func groupedNames(_ fixture: StepFixture, _ group: ParameterGroup) -> [String] {
        fixture.model.parameters.parameters.filter { $0.isTrainable && ParameterGroup(of: $0.name) == group }.map(
            \.name)
    }

    // MARK: - Blocks

    @Test func blocksAreKnownAtPlanOnceTheirScopeIs() throws {
        let plugin = try build(
            "Who",
            """
            #define SCOPE_OUT(X) X(i64, scope, "block_scope", "")
            CRAFT_HOOK(scope, CRAFT_NONE, SCOPE_OUT) { *scope = CRAFT_BLOCK_SCOPE_MODULE; return CRAFT_OK; }
            #define WHO_IN(X) X(i64_array, numel, "numel", "[k]") X(i64_array, group, "block_group", "[k]") \\
                X(i64_array, layer, "block_layer", "[k]") X(i64_array, kind, "block_kind", "[k]") \\
                X(i64_array, shape, "block_shape", "[k,two]")
            #define WHO_OUT(X) X(f64, weight, "lr_scale.policy", "")
            CRAFT_HOOK(who, WHO_IN, WHO_OUT) {
                int64_t b, seen = 0, policies = 0;
                for (b = 0; b < numel->shape[0]; b++) {
                    int64_t code = craft_read_i64(group)[b];
                    if (code < 0 || code > 5) return craft_fail(error, "group %lld", (long long)code);
                    seen |= 1 << code;
                    if (code == CRAFT_BLOCK_GROUP_POLICY) policies += craft_read_i64(numel)[b];
                    if (code == CRAFT_BLOCK_GROUP_DECODER && craft_read_i64(kind)[b] != CRAFT_BLOCK_KIND_MIXED)
                        return craft_fail(error, "kind %lld", (long long)craft_read_i64(kind)[b]);
                    if (code == CRAFT_BLOCK_GROUP_QUERIES && craft_read_i64(shape)[2 * b] != 5)
                        return craft_fail(error, "%lld queries", (long long)craft_read_i64(shape)[2 * b]);
                }
                if (seen != 63) return craft_fail(error, "groups %lld", (long long)seen);
                *weight = policies / 100000.0;
                return CRAFT_OK;
            }
            """, [("plan", "who"), ("plan", "scope")])
        let fixture = try StepFixture()
        let step = try fixture.step("\(plugin),BaselineL1")
        let policy = fixture.model.parameters.parameters.filter { ParameterGroup(of: $0.name) == .policy }
        #expect(step.session.decisions.rateScales["policy"] == Double(policy.reduce(0) { $0 + $1.count }) / 100_000)
    }

    @Test func layersAndShapesAreThoseOfTheTensors() throws {
        let fixture = try StepFixture(adapter: AdapterSettings(rank: 2, alpha: 4))
        let step = try fixture.step("BaselineL1")
        let facts = step.session.blocks
        for (index, block) in step.blocks.blocks.enumerated() {
            let parameter = try #require(block.parameters.first)
            let numbers = parameter.name.split(separator: ".").compactMap { Int($0) }
            #expect(facts.names[index] == parameter.name)
            if parameter.name.contains(".layers.") { #expect(facts.layer[index] == numbers.first.map { Int64($0) }) }
            if parameter.shape.count == 2 {
                #expect(facts.shape[2 * index..<2 * index + 2] == parameter.shape.map { Int64($0) }[...])
            }
            if parameter.name.contains("lora_A") { #expect(facts.kind[index] == BlockKind.loraA.rawValue) }
            if parameter.name.hasSuffix(".bias") { #expect(facts.kind[index] == BlockKind.bias.rawValue) }
            if parameter.name.contains("norm"), parameter.name.hasSuffix(".weight") {
                #expect(facts.kind[index] == BlockKind.norm.rawValue, "\(parameter.name)")
            }
        }
    }

    @Test func aHookCannotNameTheScopeAndReadTheBlocks() throws {
        let plugin = try build(
            "Both",
            """
            #define IN(X) X(i64_array, numel, "numel", "[k]")
            #define OUT(X) X(i64, scope, "block_scope", "")
            CRAFT_HOOK(both, IN, OUT) { *scope = 0; return CRAFT_OK; }
            """, [("plan", "both")])
        let error = try #require(throws: PluginFailure.self) { try StepFixture().step("BaselineL1,\(plugin)") }
        #expect(
            error.description.contains("let one plan hook give block_scope and another read the blocks"), "\(error)")
    }

    // MARK: - Routes

    private func route(_ factors: [(group: String, factor: Double)]) throws -> String {
        let items = factors.map { "X(f64, \($0.group), \"route.action.\($0.group)\", \"\")" }.joined(separator: " ")
        let values = factors.map { "*\($0.group) = \($0.factor);" }.joined(separator: " ")
        return try build(
            "Route",
            "#define OUT(X) \(items)\nCRAFT_HOOK(plan, CRAFT_NONE, OUT) { \(values) return CRAFT_OK; }",
            [("plan", "plan")])
    }

    /// What is left of a gradient is what it was, whatever is cut and however deep the pass goes.
    @Test(arguments: [
        ["vision"], ["vision", "projector"], ["decoder"], ["vision", "projector", "decoder"],
        ["vision", "projector", "decoder", "queries"], ["policy", "proprio"],
    ])
    func aCutLeavesTheOtherGradientsAlone(_ groups: [String]) throws {
        let plain = try StepFixture()
        let plainStep = try plain.step("BaselineL1")
        _ = try plainStep.run(step: 0, from: RandomBatches(plain.model.config, batchSize: 2))
        let fixture = try StepFixture()
        let step = try fixture.step("BaselineL1,\(try route(groups.map { ($0, 0) }))")
        let before = fixture.allValues
        _ = try step.run(step: 0, from: RandomBatches(fixture.model.config, batchSize: 2))
        let reached = try #require(step.gradient(of: "action")).isReached
        for parameter in fixture.model.parameters.parameters where parameter.isTrainable {
            let group = try #require(ParameterGroup(of: parameter.name))
            let gradient = fixture.gradient(step, "action", parameter.name)
            if groups.contains(group.rawValue) {
                #expect(gradient.allSatisfy { $0 == 0 } && !reached[parameter.id], "\(parameter.name)")
                let values = fixture.values(parameter.name)
                #expect(values == Array(before[parameter.offset..<parameter.offset + parameter.count]))
            } else {
                #expect(gradient == plain.gradient(plainStep, "action", parameter.name), "\(parameter.name)")
            }
        }
    }

    @Test func checkpointedSegmentsFollowTheRoute() throws {
        var gradients: [[Float]] = []
        for checkpoints in [false, true] {
            let fixture = try StepFixture()
            var settings = StepSettings()
            settings.checkpointsActivations = checkpoints
            let step = try fixture.step(
                "BaselineL1,\(try route([("vision", 0), ("projector", 0)]))", settings: settings)
            _ = try step.run(step: 0, from: RandomBatches(fixture.model.config, batchSize: 2))
            gradients.append(fixture.gradient(step, "action", "language_model.model.layers.1.mlp.up_proj.weight"))
            #expect(
                fixture.gradient(step, "action", try #require(groupedNames(fixture, .vision).first)).allSatisfy {
                    $0 == 0
                })
        }
        // Cotangents may be added in another order.
        let scale = gradients[0].map(abs).max() ?? 0
        #expect(scale > 0 && zip(gradients[0], gradients[1]).allSatisfy { abs($0 - $1) <= 1e-5 * scale })
    }

    @Test func aFactorScalesAGroup() throws {
        var gradients: [[Float]] = []
        for list in ["BaselineL1", "BaselineL1,\(try route([("decoder", 0.25)]))"] {
            let fixture = try StepFixture()
            let step = try fixture.step(list)
            _ = try step.run(step: 0, from: RandomBatches(fixture.model.config, batchSize: 2))
            gradients.append(fixture.gradient(step, "action", "language_model.model.layers.0.mlp.up_proj.weight"))
            gradients.append(fixture.gradient(step, "action", "action_head.model.fc2.weight"))
        }
        #expect(gradients[2] == gradients[0].map { 0.25 * $0 })
        #expect(gradients[3] == gradients[1])
    }

    @Test func routesOfUnknownGroupsAreRefused() throws {
        let plugin = try route([("tower", 0)])
        let error = try #require(throws: PluginFailure.self) { try StepFixture().step("BaselineL1,\(plugin)") }
        #expect(error.message.contains("there is no parameter group 'tower'; the groups are vision"), "\(error)")
    }

    // MARK: - Drift

    /// An objective with the gradient c (theta - theta0) in block b, where c is 2 + b, and what a hook sees of it.
    private func driftPlugin() throws -> String {
        try build(
            "Drift",
            """
            #define PULL_IN(X) X(f64_array, drift2, "drift2", "[k]")
            #define PULL_OUT(X) X(f64, loss, "loss.drift", "") X(f64_array, out, "cotangent.drift.drift", "[k]")
            CRAFT_HOOK(objective, PULL_IN, PULL_OUT) {
                int64_t b;
                *loss = 0;
                for (b = 0; b < drift2->shape[0]; b++) {
                    craft_write_f64(out)[b] = 2.0 + b;
                    *loss += 0.5 * (2.0 + b) * craft_read_f64(drift2)[b];
                }
                return CRAFT_OK;
            }
            #define SEEN_IN(X) X(f64_array, drift2, "drift2", "[k]") X(f64_array, dots, "drift_dot", "[k,m]") \\
                X(f64_array, gram, "gram", "[k,m,m]") X(i64, row, "index.drift", "")
            #define SEEN_OUT(X) X(f64, all, "metric.drift2", "") X(f64, dot, "metric.own_dot", "") X(f64, own, "metric.own", "")
            CRAFT_HOOK(seen, SEEN_IN, SEEN_OUT) {
                int64_t b, k = drift2->shape[0], m = dots->shape[1];
                *all = *dot = *own = 0;
                for (b = 0; b < k; b++) {
                    *all += craft_read_f64(drift2)[b];
                    *dot += craft_read_f64(dots)[b * m + row];
                    *own += craft_read_f64(gram)[(b * m + row) * m + row];
                }
                return CRAFT_OK;
            }
            """, [("pre_backward", "objective"), ("gradient_combine", "seen")])
    }

    @Test func driftIsAnObjectiveLikeOthers() throws {
        let fixture = try StepFixture()
        let start = fixture.allValues
        let step = try fixture.step("BaselineL1,\(try driftPlugin())")
        let source = RandomBatches(fixture.model.config, batchSize: 2)
        let first = try step.run(step: 0, from: source).metrics
        #expect(first["loss.drift"] == 0 && first["metric.own"] == nil && first["own"] == 0)
        let moved = fixture.allValues
        let metrics = try step.run(step: 1, from: source).metrics
        let distance = zip(moved, start).map { Double($0) - Double($1) }
        let parameters = fixture.model.parameters.parameters.filter(\.isTrainable)
        var (squares, loss, dot, own) = (0.0, 0.0, 0.0, 0.0)
        for (block, parameter) in step.blocks.blocks.map(\.parameters[0]).enumerated() {
            let c = 2.0 + Double(block)
            let part = distance[parameter.offset..<parameter.offset + parameter.count].reduce(0) { $0 + $1 * $1 }
            squares += part
            loss += 0.5 * c * part
            dot += c * part
            own += c * c * part
            let gradient = fixture.gradient(step, "drift", parameter.name)
            for (index, value) in gradient.enumerated() {
                #expect(abs(Double(value) - c * distance[parameter.offset + index]) <= 1e-6 * c)
            }
        }
        #expect(parameters.count == step.blocks.blocks.count && squares > 0)
        for (name, want) in [("drift2", squares), ("loss.drift", loss), ("own_dot", dot), ("own", own)] {
            let got = try #require(metrics[name])
            #expect(abs(got - want) <= 1e-5 * want, "\(name): \(got), expected \(want)")
        }
    }

    @Test func pullGoesAShareOfTheWayBack() throws {
        let plugin = try build(
            "Back",
            """
            #define IN(X) X(f64_array, before, "pull", "[k]")
            #define OUT(X) X(f64_array, out, "pull", "[k]")
            CRAFT_HOOK(back, IN, OUT) {
                int64_t b;
                for (b = 0; b < before->shape[0]; b++) craft_write_f64(out)[b] = craft_read_f64(before)[b] + (b % 2 ? 1 : 0.25);
                return CRAFT_OK;
            }
            """, [("post_step", "back")])
        let plain = try StepFixture()
        let start = plain.allValues
        _ = try plain.step("BaselineL1").run(step: 0, from: RandomBatches(plain.model.config, batchSize: 2))
        let fixture = try StepFixture()
        let step = try fixture.step("BaselineL1,\(plugin)")
        _ = try step.run(step: 0, from: RandomBatches(fixture.model.config, batchSize: 2))
        let (moved, pulled) = (plain.allValues, fixture.allValues)
        for (block, parameter) in step.blocks.blocks.map(\.parameters[0]).enumerated() {
            for index in parameter.offset..<parameter.offset + parameter.count {
                let want = block % 2 == 1 ? start[index] : moved[index] + 0.25 * (start[index] - moved[index])
                #expect(abs(pulled[index] - want) <= 1e-7)
            }
        }
    }

    // MARK: - Rates

    /// A block at rate 0 is as if it had not been there: neither moments nor weight decay, and no count for the correction.
    @Test func aBlockAtRateZeroIsLeftAlone() throws {
        let plugin = try build(
            "Later",
            """
            #define IN(X) X(f64_array, before, "rate", "[k]") X(i64, step, "step", "")
            #define OUT(X) X(f64_array, out, "rate", "[k]")
            CRAFT_HOOK(later, IN, OUT) {
                int64_t b;
                for (b = 0; b < before->shape[0]; b++) craft_write_f64(out)[b] = craft_read_f64(before)[b] * (step < 2 ? 0 : 1);
                return CRAFT_OK;
            }
            """, [("gradient_combine", "later")])
        // Two steps on other batches, then one that is the first for AdamW.
        let fixture = try StepFixture()
        let step = try fixture.step("BaselineL1,\(plugin)")
        let source = RandomBatches(fixture.model.config, batchSize: 2)
        let start = fixture.allValues
        for index in 0..<2 { _ = try step.run(step: index, from: source) }
        #expect(fixture.allValues == start)
        let plain = try StepFixture()
        let plainStep = try plain.step("BaselineL1")
        let same = RandomBatches(plain.model.config, batchSize: 2)
        try same.restore(cursor: source.cursor)
        _ = try step.run(step: 2, from: source)
        _ = try plainStep.run(step: 0, from: same)
        #expect(fixture.allValues == plain.allValues && fixture.allValues != start)
    }

    @Test func rateScalesChangeBetweenSteps() throws {
        let plugin = try build(
            "Unfreeze",
            """
            #define PLAN_OUT(X) X(f64, scale, "lr_scale.decoder", "")
            CRAFT_HOOK(plan, CRAFT_NONE, PLAN_OUT) { *scale = 0; return CRAFT_OK; }
            #define IN(X) X(i64, step, "step", "")
            #define OUT(X) X(optional_f64, scale, "lr_scale.decoder", "")
            CRAFT_HOOK(after, IN, OUT) { if (step == 1) *scale = 0.5; return CRAFT_OK; }
            """, [("plan", "plan"), ("post_step", "after")])
        let fixture = try StepFixture()
        let step = try fixture.step("BaselineL1,\(plugin)")
        let source = RandomBatches(fixture.model.config, batchSize: 2)
        let name = "language_model.model.layers.1.mlp.up_proj.weight"
        var seen = [fixture.values(name)]
        for index in 0..<3 {
            _ = try step.run(step: index, from: source)
            seen.append(fixture.values(name))
        }
        #expect(seen[0] == seen[1] && seen[1] == seen[2] && seen[2] != seen[3])
        #expect(try step.session.save().rateScales["decoder"] == 0.5)
    }

    // MARK: - Halves of a step

    /// The same micro-batch twice: the halves' gradients are the whole's.
    private final class Twice: BatchSource {
        let source: RandomBatches
        private var last: TrainingBatch?

        init(_ source: RandomBatches) { self.source = source }

        func next() throws -> TrainingBatch {
            if let batch = last {
                last = nil
                return batch
            }
            let batch = try source.next()
            last = batch
            return batch
        }

        var cursor: DataCursor { source.cursor }
        func restore(cursor: DataCursor) throws { try source.restore(cursor: cursor) }
    }

    private func crossPlugin() throws -> String {
        try build(
            "Cross",
            """
            #define IN(X) X(f64_array, gram, "gram", "[k,m,m]") X(f64_array, cross, "gram_cross", "[k,m,m]")
            #define OUT(X) X(f64, whole, "metric.whole", "") X(f64, halves, "metric.halves", "") X(f64, worst, "metric.worst", "")
            CRAFT_HOOK(seen, IN, OUT) {
                int64_t i, n = craft_count(gram);
                *whole = *halves = *worst = 0;
                for (i = 0; i < n; i++) {
                    double d = fabs(craft_read_f64(gram)[i] - craft_read_f64(cross)[i]);
                    *whole += craft_read_f64(gram)[i];
                    *halves += craft_read_f64(cross)[i];
                    if (d > *worst) *worst = d;
                }
                return CRAFT_OK;
            }
            """, [("gradient_combine", "seen")])
    }

    @Test func equalHalvesHaveTheWholesProducts() throws {
        let cross = try crossPlugin()
        let fixture = try StepFixture()
        var settings = StepSettings()
        settings.accumulation = 2
        let step = try fixture.step("BaselineL1,AnchorVariants,\(cross)", settings: settings, batchSize: 2)
        let source = Twice(RandomBatches(fixture.model.config, batchSize: 2))
        for index in 0..<2 {
            let metrics = try step.run(step: index, from: source).metrics
            let whole = try #require(metrics["whole"])
            #expect(whole > 0 && abs((metrics["halves"] ?? .nan) - whole) <= 1e-6 * whole)
            #expect((metrics["worst"] ?? .nan) <= 1e-6 * whole)
        }
        // The whole's gradient is that of a run whose halves are not kept apart.
        let plain = try StepFixture()
        let plainStep = try plain.step("BaselineL1", settings: settings, batchSize: 2)
        let halved = try StepFixture()
        let halvedStep = try halved.step("BaselineL1,\(cross)", settings: settings, batchSize: 2)
        for (fixture, step) in [(plain, plainStep), (halved, halvedStep)] {
            _ = try step.run(step: 0, from: RandomBatches(fixture.model.config, batchSize: 2))
        }
        let name = "language_model.model.layers.1.mlp.up_proj.weight"
        let (want, got) = (plain.gradient(plainStep, "action", name), halved.gradient(halvedStep, "action", name))
        let scale = want.map(abs).max() ?? 0
        #expect(scale > 0 && zip(want, got).allSatisfy { abs($0 - $1) <= 1e-6 * scale })
    }

    @Test func halvesNeedAnEvenNumber() throws {
        let cross = try crossPlugin()
        var settings = StepSettings()
        settings.accumulation = 3
        let error = try #require(throws: CompositionError.self) {
            try StepFixture().step("BaselineL1,\(cross)", settings: settings)
        }
        #expect(error.description.contains("give an even `accumulation`"), "\(error)")
    }

    // MARK: - Whole arrays

    /// Takes half of the gradient so far, checks the parameters against their initial values, and can be listed twice.
    private func halvingPlugin() throws -> String {
        try build(
            "Halve",
            """
            #define IN(X) X(f32_array, before, "combined", "[n]") X(f32_array, now, "parameters", "[n]") \\
                X(f32_array, start, "initial", "[n]")
            #define OUT(X) X(f32_array, out, "combined", "[n]") X(f64, moved, "metric.{instance}", "")
            CRAFT_HOOK(halve, IN, OUT) {
                int64_t i;
                *moved = 0;
                for (i = 0; i < before->shape[0]; i++) {
                    double d = (double)craft_read_f32(now)[i] - craft_read_f32(start)[i];
                    craft_write_f32(out)[i] = 0.5f * craft_read_f32(before)[i];
                    *moved += d * d;
                }
                return CRAFT_OK;
            }
            """, [("gradient_combine", "halve")])
    }

    @Test func combinedGradientsAreChained() throws {
        let halve = try halvingPlugin()
        let fixture = try StepFixture()
        let start = fixture.allValues
        let step = try fixture.step("BaselineL1,AnchorVariants:weight=0.5,one=\(halve),two=\(halve)", weightDecay: 0)
        let source = RandomBatches(fixture.model.config, batchSize: 2)
        let first = try step.run(step: 0, from: source).metrics
        #expect(first["one"] == 0 && first["two"] == 0)
        let moved = zip(fixture.allValues, start).reduce(0) {
            $0 + (Double($1.0) - Double($1.1)) * (Double($1.0) - Double($1.1))
        }
        let second = try step.run(step: 1, from: source).metrics
        #expect(abs((second["one"] ?? .nan) - moved) <= 1e-6 * moved && second["one"] == second["two"])
        // A quarter of the weighted sum's length.
        let sum = zip(
            step.gradient(of: "action").map {
                Array(UnsafeBufferPointer(start: $0.values.base, count: $0.values.count))
            } ?? [],
            step.gradient(of: "retention").map {
                Array(UnsafeBufferPointer(start: $0.values.base, count: $0.values.count))
            } ?? []
        ).reduce(0.0) { total, pair in
            let value = Double(pair.0) + 0.5 * Double(pair.1)
            return total + value * value
        }
        let norm = try #require(second["gradient_norm"])
        #expect(abs(norm - 0.25 * sum.squareRoot()) <= 1e-5 * norm)
    }

    // MARK: - Ends

    @Test func aHookEndsTheRun() throws {
        let plugin = try build(
            "Enough",
            """
            #define IN(X) X(i64, step, "step", "")
            #define OUT(X) X(optional_f64, stop, "stop", "")
            CRAFT_HOOK(after, IN, OUT) { if (step == 1) *stop = 3; return CRAFT_OK; }
            #define EVAL_IN(X) X(optional_f64, accuracy, "eval.held_out_answer_accuracy", "") X(i64, step, "step", "")
            #define EVAL_OUT(X) X(optional_f64, stop, "stop", "") X(f64, seen, "metric.seen_{instance}", "")
            CRAFT_HOOK(measured, EVAL_IN, EVAL_OUT) {
                *seen = accuracy ? *accuracy : -1;
                if (accuracy && *accuracy < 0.5) *stop = 1;
                return CRAFT_OK;
            }
            """, [("post_step", "after"), ("evaluate", "measured")])
        let fixture = try StepFixture()
        // The second instance's silence does not take the first one's word back.
        let step = try fixture.step("BaselineL1,a=\(plugin),b=\(plugin)")
        let source = RandomBatches(fixture.model.config, batchSize: 2)
        #expect(try step.run(step: 0, from: source).stop == nil)
        let stop = try #require(try step.run(step: 1, from: source).stop)
        #expect(stop.description == "plugin a ended the run at its post_step hook, step 1 (stop = 3.0)")
        #expect(try step.session.evaluate(["held_out_answer_accuracy": 0.7], step: 2).stop == nil)
        let told = try step.session.evaluate(["held_out_answer_accuracy": 0.4], step: 3)
        #expect(told.stop?.plugin == "a" && told.stop?.point == .evaluate && told.metrics["seen_a"] == 0.4)
        #expect(try step.session.evaluate([:], step: 4).metrics["seen_b"] == -1)
    }

    @Test func metricsByBlockHaveANumberForEach() throws {
        let plugin = try build(
            "Norms",
            """
            #define IN(X) X(f64_array, gram, "gram", "[k,m,m]")
            #define OUT(X) X(f64_array, norms, "block_metric.norm", "[k]")
            CRAFT_HOOK(norms, IN, OUT) {
                int64_t b, m = gram->shape[1];
                for (b = 0; b < gram->shape[0]; b++) craft_write_f64(norms)[b] = sqrt(craft_read_f64(gram)[b * m * m]);
                return CRAFT_OK;
            }
            """, [("gradient_combine", "norms")])
        let fixture = try StepFixture()
        let step = try fixture.step("BaselineL1,\(plugin)")
        let report = try step.run(step: 0, from: RandomBatches(fixture.model.config, batchSize: 2))
        let norms = try #require(report.blockMetrics["norm"])
        #expect(norms.count == step.blocks.blocks.count)
        let whole = norms.reduce(0) { $0 + $1 * $1 }.squareRoot()
        #expect(abs(whole - (report.metrics["gradient_norm"] ?? 0)) <= 1e-9 * whole)
    }
}
