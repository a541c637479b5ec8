import Formats
import Models
import PluginRuntime
import Tensors
import TestSupport
import Testing
import Training

/// What the step's definition implies for the method's plugins, computed here once more from the gradients of each objective.
@Suite struct StepConsequenceTests {
    private static let names = [
        "BaselineL1", "AnchorVariants:weight=5", "CRaFTProjection", "CRaFTDual:budget=0.0001:lr=1",
    ]

    /// A step on a model that has left its initial weights, so that no objective's gradient is zero.
    private struct Moved {
        let fixture: StepFixture
        let step: TrainingStep
        private let source: RandomBatches

        /// - Parameter epsilon: AdamW's; far above the gradients, an update is nearly proportional to them.
        init(
            _ plugins: String, learningRate: Double = 1, epsilon: Double = 1, settings: StepSettings = StepSettings()
        )
            throws
        {
            fixture = try StepFixture()
            var optimizer = AdamWSettings()
            optimizer.epsilon = epsilon
            optimizer.weightDecay = 0
            step = try fixture.step(plugins, settings: settings, learningRate: learningRate, optimizer: optimizer)
            source = RandomBatches(fixture.model.config, batchSize: 4)
            var random = RandomGenerator(seed: 8)
            let values = fixture.model.parameters.trainable
            for index in 0..<fixture.model.parameters.trainableCount { values[index] += Float(0.03 * random.normal()) }
        }

        func run(_ steps: Int = 1) throws -> [StepReport] {
            try (0..<steps).map { try step.run(step: $0, from: source) }
        }

        /// The gradient of an objective after the last step, over all trainable values.
        func gradient(of objective: String) throws -> [Double] {
            let gradient = try #require(step.gradient(of: objective))
            return (0..<fixture.model.parameters.trainableCount).map { Double(gradient.values.base[$0]) }
        }

        /// Where each tensor is among the trainable values: with the default scope a block.
        var tensors: [Range<Int>] {
            let parameters = fixture.model.parameters.parameters.filter(\.isTrainable)
            return parameters.map { $0.offset..<$0.offset + $0.count }
        }
    }

    private func largest(_ values: [Double]) -> Double { values.reduce(0) { max($0, abs($1)) } }

    private func product(_ x: ArraySlice<Double>, _ y: ArraySlice<Double>) -> Double {
        zip(x, y).reduce(0) { $0 + $1.0 * $1.1 }
    }

    /// Both losses in one objective, 0.3 of the second: one backward pass of the weighted sum.
    private static let weightedSum = """
        #define PLAN_OUT(X) X(i64, layer, "tap.sum.layer", "") X(i64, tokens, "tap.sum.tokens", "") \\
            X(i64, pooling, "tap.sum.pooling", "")
        CRAFT_HOOK(plan, CRAFT_NONE, PLAN_OUT) {
            *layer = 1; *tokens = CRAFT_TAP_TOKENS_VISUAL; *pooling = CRAFT_TAP_POOLING_MEAN;
            return CRAFT_OK;
        }
        #define IN(X) X(f32_array, predicted, "predicted_actions", "[b,h,a]") \\
            X(f32_array, target, "target_actions", "[b,h,a]") X(f32_array, feature, "feature.sum", "[b,t,d]") \\
            X(f32_array, anchor, "anchor.sum", "[b,t,d]")
        #define OUT(X) X(f64, loss, "loss.sum", "") \\
            X(f32_array, actions, "cotangent.sum.predicted_actions", "[b,h,a]") \\
            X(f32_array, features, "cotangent.sum.feature.sum", "[b,t,d]")
        CRAFT_HOOK(objective, IN, OUT) {
            int64_t i, n = craft_count(predicted), c = craft_count(feature);
            *loss = 0;
            for (i = 0; i < n; i++) {
                float d = craft_read_f32(predicted)[i] - craft_read_f32(target)[i];
                *loss += fabs((double)d) / n;
                craft_write_f32(actions)[i] = d > 0 ? 1.0f / n : d < 0 ? -1.0f / n : 0;
            }
            for (i = 0; i < c; i++) {
                float d = craft_read_f32(feature)[i] - craft_read_f32(anchor)[i];
                *loss += 0.3 * d * d / c;
                craft_write_f32(features)[i] = 0.6f * d / c;
            }
            return CRAFT_OK;
        }
        """

    /// Without projection the combined gradient, its norm and the update are those of one backward pass of the weighted sum.
    @Test func projectionOffEqualsTheGradientOfTheWeightedSum() throws {
        let compiled = try CompiledPlugin()
        // Its folder goes with it.
        defer { withExtendedLifetime(compiled) {} }
        let plugin = try compiled.build(
            "WeightedSum", Self.weightedSum,
            table: "CRAFT_HOOK_ENTRY(\"plan\", plan), CRAFT_HOOK_ENTRY(\"pre_backward\", objective)")
        let apart = try Moved("BaselineL1,AnchorVariants:weight=0.3:type=raw_only:layer=1")
        let once = try Moved(plugin)
        #expect(apart.fixture.allValues == once.fixture.allValues, "both begin at the same weights")
        let (report, sum) = (try apart.run()[0].metrics, try once.run()[0].metrics)
        let whole = try once.gradient(of: "sum")
        let (action, retention) = (try apart.gradient(of: "action"), try apart.gradient(of: "retention"))
        let scale = largest(whole)
        #expect(0.3 * largest(retention) > 0.01 * scale, "the second objective would not be missed")
        for index in whole.indices {
            #expect(abs(action[index] + 0.3 * retention[index] - whole[index]) < 1e-5 * scale)
        }
        let loss = try #require(sum["loss.sum"])
        #expect(abs((report["loss.action"] ?? 0) + 0.3 * (report["loss.retention"] ?? 0) - loss) < 1e-6 * loss)
        let norm = try #require(sum["gradient_norm"])
        #expect(abs((report["gradient_norm"] ?? 0) - norm) < 1e-5 * norm)
        let (updated, start) = (apart.fixture.allValues, try Moved("BaselineL1").fixture.allValues)
        let moved = zip(updated, start).map { Double($0 - $1) }
        for (index, value) in once.fixture.allValues.enumerated() {
            #expect(abs(Double(value - start[index]) - moved[index]) < 1e-4 * largest(moved))
        }
    }

    /// What each plugin adds to a list changes the update as its rule says, and in no other way: AdamW's first update is
    /// -lr g / (|g| + epsilon), and here is g.
    @Test(arguments: [1, 2, 3, 4]) func eachPluginChangesTheRunByItsRule(_ count: Int) throws {
        let list = Self.names.prefix(count).joined(separator: ",")
        let moved = try Moved(list)
        let start = moved.fixture.allValues
        let report = try moved.run()[0]
        let end = moved.fixture.allValues
        let action = try moved.gradient(of: "action")
        let retention = count > 1 ? try moved.gradient(of: "retention") : action.map { _ in 0 }
        var (conflicts, shared) = (0, 0)
        for tensor in moved.tensors {
            // CRaFTDual begins at 0, whatever weight the objective has without it.
            var weight = [0.0, 5, 5, 0][count - 1]
            let inner = product(action[tensor], retention[tensor])
            if inner < 0 { conflicts += 1 }
            if inner != 0 { shared += 1 }
            if count > 2, inner < 0 { weight -= inner / product(retention[tensor], retention[tensor]) }
            for index in tensor {
                let gradient = action[index] + weight * retention[index]
                let expected = -gradient / (abs(gradient) + 1)
                let update = Double(end[index] - start[index])
                #expect(
                    abs(update - expected) < 2e-6 + 1e-5 * abs(expected), "\(list): \(update) instead of \(expected)")
            }
        }
        if count > 1 { #expect(conflicts > 3, "the projection has nothing to do here") }
        #expect(report.metrics["conflict_ratio"] == (count > 2 ? Double(conflicts) / Double(shared) : nil))
        // The multiplier's next value is the rule's, and this step had the one before.
        let loss = report.metrics["loss.retention"] ?? 0
        #expect((loss > 0) == (count > 1))
        let next = [nil, 5, 5, max(0, 1 * (loss - 0.0001))][count - 1]
        if let next { #expect(abs((report.metrics["lambda.retention"] ?? .nan) - next) < 1e-12) }
        #expect(next != nil || report.metrics["lambda.retention"] == nil)
    }

    /// Every subset of the method's plugins trains, and where one has nothing to work on the run is the one without it, bit for
    /// bit.
    @Test func everySubsetTrains() throws {
        var results: [Int: [Float]] = [:]
        for bits in 1..<16 {
            let list = Self.names.indices.filter { bits >> $0 & 1 == 1 }.map { Self.names[$0] }.joined(separator: ",")
            guard bits & 0b11 != 0 else {
                let error = try #require(throws: TrainingError.self, "\(list)") { _ = try Moved(list) }
                #expect(error.code == .settings && error.description.contains("provides a loss"), "\(error)")
                continue
            }
            let moved = try Moved(list)
            let start = moved.fixture.allValues
            let reports = try moved.run(2)
            #expect(moved.fixture.allValues != start, "\(list) trains nothing")
            for report in reports {
                let (metrics, given) = (report.metrics, Set(report.metrics.keys))
                #expect(given.contains("loss.action") == (bits & 0b1 != 0), "\(list)")
                #expect(given.contains("loss.retention") == (bits & 0b10 != 0), "\(list)")
                #expect(given.contains("conflict_ratio") == (bits & 0b111 == 0b111), "\(list)")
                let isFinite = metrics.values.allSatisfy { $0.isFinite }
                #expect(isFinite, "\(list)")
            }
            results[bits] = moved.fixture.allValues
        }
        #expect(results.count == 12)
        // Without a constraint there is nothing to project off or to hold to a budget; without an action objective nothing that
        // could conflict.
        let same = [(0b0101, 0b0001), (0b1001, 0b0001), (0b1101, 0b0001), (0b0110, 0b0010), (0b1110, 0b1010)]
        for (with, without) in same { #expect(results[with] == results[without], "\(with) \(without)") }
        let apart = Set([0b0001, 0b0010, 0b0011, 0b0111, 0b1010, 0b1011, 0b1111].map { results[$0] })
        #expect(apart.count == 7, "the other subsets are runs of their own")
    }
}
