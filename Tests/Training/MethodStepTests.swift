import Foundation
import Models
import PluginRuntime
import Tensors
import Testing
import Training

/// Methods that shape the step itself, each against the same arithmetic in Double on the gradients of the step.
@Suite struct MethodStepTests {
    static let decoder = "language_model.model.layers.1.self_attn.o_proj.weight"
    static let tower = "vision_backbone.featurizer.blocks.0.mlp.fc1.weight"
    static let head = "action_head.model.fc2.weight"

    /// AdamW of one parameter.
    private struct Reference {
        let start: [Double]
        var values: [Double]
        private var first: [Double]
        private var second: [Double]
        private var updates = 0

        init(_ values: [Float]) {
            start = values.map(Double.init)
            self.values = start
            first = start.map { _ in 0 }
            second = first
        }

        var distances: [Double] { zip(values, start).map { $0 - $1 } }

        mutating func update(_ gradient: [Double], rate: Double, decay: Double = 0.01) {
            updates += 1
            let (c1, c2) = (1 - pow(0.9, Double(updates)), 1 - pow(0.999, Double(updates)))
            for i in values.indices {
                first[i] = 0.9 * first[i] + 0.1 * gradient[i]
                second[i] = 0.999 * second[i] + 0.001 * gradient[i] * gradient[i]
                values[i] *= 1 - rate * decay
                values[i] -= rate * (first[i] / c1) / ((second[i] / c2).squareRoot() + 1e-8)
            }
        }

        /// Largest difference to what a parameter became.
        func error(_ found: [Float]) -> Double {
            zip(found, values).reduce(0) { max($0, abs(Double($1.0) - $1.1)) }
        }
    }

    private func doubles(_ fixture: StepFixture, _ step: TrainingStep, _ objective: String, _ name: String) -> [Double]
    {
        fixture.gradient(step, objective, name).map(Double.init)
    }

    private func names(_ fixture: StepFixture, _ groups: Set<ParameterGroup>) -> [String] {
        fixture.model.parameters.parameters.map(\.name).filter { name in
            ParameterGroup(of: name).map { groups.contains($0) } ?? false
        }
    }

    private func source(_ fixture: StepFixture, seed: UInt64 = 1) -> RandomBatches {
        RandomBatches(fixture.model.config, batchSize: 4, seed: seed)
    }

    // MARK: - KnowledgeInsulation

    /// What is protected stays as it is, bit for bit, and what is not has the gradient that it has without the route.
    @Test(arguments: ["", ":groups=vision|projector|decoder|queries", ":groups=decoder"])
    func cutGroupsStayAndTheRestIsAsBefore(settings: String) throws {
        let (plain, cut) = (try StepFixture(), try StepFixture())
        let step = try plain.step("BaselineL1")
        _ = try step.run(step: 0, from: source(plain))
        let insulated = try cut.step("BaselineL1,KnowledgeInsulation" + settings)
        let batches = source(cut)
        let protected: Set<ParameterGroup> =
            settings.isEmpty
            ? [.vision, .projector, .decoder]
            : settings.contains("queries") ? [.vision, .projector, .decoder, .queries] : [.decoder]
        let kept = names(cut, protected)
        let before = kept.map(cut.values)
        _ = try insulated.run(step: 0, from: batches)
        for name in names(cut, Set(ParameterGroup.allCases).subtracting(protected)) {
            #expect(cut.gradient(insulated, "action", name) == plain.gradient(step, "action", name), "\(name)")
        }
        for index in 1..<3 { _ = try insulated.run(step: index, from: batches) }
        #expect(kept.count > 20 && kept.map(cut.values) == before)
        #expect(plain.values(Self.decoder) != cut.values(Self.decoder))
    }

    @Test func aShareOfTheGradientIsLetThrough() throws {
        let (plain, shared) = (try StepFixture(), try StepFixture())
        let step = try plain.step("BaselineL1")
        _ = try step.run(step: 0, from: source(plain))
        let insulated = try shared.step("BaselineL1,KnowledgeInsulation:factor=0.25")
        _ = try insulated.run(step: 0, from: source(shared))
        for name in [Self.decoder, Self.tower] {
            let full = plain.gradient(step, "action", name)
            #expect(full.contains { $0 != 0 })
            #expect(shared.gradient(insulated, "action", name) == full.map { 0.25 * $0 }, "\(name)")
        }
        #expect(shared.gradient(insulated, "action", Self.head) == plain.gradient(step, "action", Self.head))
    }

    // MARK: - L2SP

    /// Gradient a (p - p0), loss a/2 |p - p0|^2, and AdamW on the sum of both objectives' gradients.
    @Test func thePenaltyIsAnObjective() throws {
        let fixture = try StepFixture()
        let step = try fixture.step("BaselineL1,L2SP:weight=0.5:decoder=3:vision=0.25:projector=0", learningRate: 1e-2)
        let strengths = [Self.decoder: 3.0, Self.tower: 0.25, Self.head: 0]
        var references = strengths.mapValues { _ in Reference([]) }
        for name in strengths.keys { references[name] = Reference(fixture.values(name)) }
        let all = names(fixture, [.decoder, .vision])
        let starts = all.map(fixture.values)
        let batches = source(fixture)
        var (worst, worstLoss) = (0.0, 0.0)
        for index in 0..<4 {
            let loss = zip(all, starts).reduce(0.0) { sum, item in
                let strength = ParameterGroup(of: item.0) == .decoder ? 3.0 : 0.25
                return sum
                    + zip(fixture.values(item.0), item.1).reduce(0.0) {
                        let distance = Double($1.0) - Double($1.1)
                        return $0 + strength / 2 * distance * distance
                    }
            }
            let report = try step.run(step: index, from: batches)
            let found = try #require(report.metrics["loss.l2sp"])
            #expect(index > 0 ? found > 0 : found == 0)
            if loss > 0 { worstLoss = max(worstLoss, abs(found / loss - 1)) }
            for (name, strength) in strengths {
                var reference = try #require(references[name])
                let expected = reference.distances.map { strength * $0 }
                let gradient = doubles(fixture, step, "l2sp", name)
                for (x, y) in zip(gradient, expected) { worst = max(worst, abs(x - y)) }
                reference.update(
                    zip(doubles(fixture, step, "action", name), gradient).map { $0 + 0.5 * $1 }, rate: 1e-2)
                worst = max(worst, reference.error(fixture.values(name)))
                references[name] = reference
            }
        }
        #expect(worst < 2e-6 && worstLoss < 1e-6, "\(worst) \(worstLoss)")
        print("worst error of L2SP's gradient and step: \(worst), relative of its loss: \(worstLoss)")
    }

    /// AdamW on the other gradients, then a share of the way back; strengths past 1 / lr go all the way.
    @Test func thePullGoesAShareOfTheWayBack() throws {
        let fixture = try StepFixture()
        let step = try fixture.step("BaselineL1,L2SP:form=pull:decoder=20:vision=1000:projector=0", learningRate: 1e-2)
        let shares = [Self.decoder: 0.2, Self.tower: 1, Self.head: 0]
        var references = shares.mapValues { _ in Reference([]) }
        for name in shares.keys { references[name] = Reference(fixture.values(name)) }
        let batches = source(fixture)
        var worst = 0.0
        for index in 0..<4 {
            let report = try step.run(step: index, from: batches)
            #expect(report.metrics["loss.l2sp"] == nil)
            #expect((report.metrics["l2sp_distance"] ?? -1) > 0 || index == 0)
            for (name, share) in shares {
                var reference = try #require(references[name])
                reference.update(doubles(fixture, step, "action", name), rate: 1e-2)
                for i in reference.values.indices {
                    reference.values[i] += share * (reference.start[i] - reference.values[i])
                }
                worst = max(worst, reference.error(fixture.values(name)))
                references[name] = reference
            }
        }
        #expect(worst < 2e-6, "\(worst)")
        print("worst error of L2SP's pull: \(worst)")
    }

    // MARK: - LayerRates

    /// Each layer waits for its step, counts its own updates and has its own rate.
    @Test func layersOpenFromTheTop() throws {
        let fixture = try StepFixture()
        let step = try fixture.step("BaselineL1,LayerRates:schedule=gradual:interval=1:decay=0.5", learningRate: 1e-2)
        let depths = [
            Self.head: 0, "language_model.model.norm.weight": 1, "language_model.model.layers.2.mlp.up_proj.weight": 1,
            Self.decoder: 2, "language_model.model.layers.0.mlp.up_proj.weight": 3,
            "language_model.model.embed_tokens.weight": 4, "projector.fc1.weight": 5,
            "vision_backbone.featurizer.blocks.1.mlp.fc1.weight": 6, Self.tower: 7,
            "vision_backbone.featurizer.pos_embed": 8,
        ]
        var references: [String: Reference] = [:]
        for name in depths.keys {
            #expect(!fixture.values(name).isEmpty, "\(name)")
            references[name] = Reference(fixture.values(name))
        }
        let first = names(fixture, [.queries, .policy, .proprio])
        let count = { (names: [String]) in Double(names.reduce(0) { $0 + fixture.values($1).count }) }
        let share = count(first) / count(names(fixture, Set(ParameterGroup.allCases)))
        let batches = source(fixture)
        var worst = 0.0
        for index in 0..<7 {
            let report = try step.run(step: index, from: batches)
            if index == 0 { #expect(abs((report.metrics["trained_share"] ?? 0) - share) < 1e-12) }
            for (name, depth) in depths {
                var reference = try #require(references[name])
                if index >= depth {
                    reference.update(doubles(fixture, step, "action", name), rate: 1e-2 * pow(0.5, Double(depth)))
                } else {
                    #expect(fixture.values(name).map(Double.init) == reference.start, "\(name) in step \(index)")
                }
                worst = max(worst, reference.error(fixture.values(name)))
                references[name] = reference
            }
        }
        #expect(worst < 4e-6, "\(worst)")
        print("worst error of LayerRates: \(worst)")
    }

    /// The head alone, then all: the same by blocks and by groups.
    @Test func theHeadComesFirst() throws {
        let results = try ["block", "group"].map { unit in
            let fixture = try StepFixture()
            let before = fixture.values(Self.decoder)
            let step = try fixture.step("BaselineL1,LayerRates:interval=2:first=policy proprio:unit=\(unit)")
            let batches = source(fixture)
            for index in 0..<2 { _ = try step.run(step: index, from: batches) }
            #expect(fixture.values(Self.decoder) == before)
            let all = try step.run(step: 2, from: batches)
            #expect(all.metrics["trained_share"] == 1)
            #expect(fixture.values(Self.decoder) != before)
            return fixture.allValues
        }
        #expect(results[0] == results[1])
    }

    // MARK: - EWC

    /// Importance from the squared gradients of another objective, and its force on top of the weighted sum.
    @Test func consolidationAddsItsForce() throws {
        let fixture = try StepFixture()
        let step = try fixture.step(
            "BaselineL1,AnchorVariants:weight=0.3,EWC:importance=given:source=action:steps=2:strength=50",
            learningRate: 1e-2)
        let tracked = [Self.decoder, Self.tower, Self.head]
        var references = Dictionary(uniqueKeysWithValues: tracked.map { ($0, Reference(fixture.values($0))) })
        var importance = references.mapValues { $0.values.map { _ in 0.0 } }
        let before = fixture.allValues
        let batches = source(fixture)
        var worst = 0.0
        for index in 0..<5 {
            _ = try step.run(step: index, from: batches)
            for name in tracked {
                let gradient = doubles(fixture, step, "action", name)
                guard index >= 2 else {
                    importance[name] = zip(importance[name] ?? [], gradient).map { $0 + $1 * $1 / 2 }
                    continue
                }
                var reference = try #require(references[name])
                let forces = zip(importance[name] ?? [], reference.distances).map { 50 * $0 * $1 }
                let retention = doubles(fixture, step, "retention", name)
                reference.update(gradient.indices.map { gradient[$0] + 0.3 * retention[$0] + forces[$0] }, rate: 1e-2)
                worst = max(worst, reference.error(fixture.values(name)))
                references[name] = reference
            }
            if index < 2 { #expect(fixture.allValues == before, "importance is that of the start") }
        }
        #expect(worst < 4e-6, "\(worst)")
        print("worst error of EWC's step: \(worst)")
    }

    /// Its own questions run while importance is gathered and then no more; the penalty is what importance says.
    @Test(arguments: ["fisher", "mas"]) func importanceOfItsOwn(kind: String) throws {
        let fixture = try StepFixture()
        let step = try fixture.step("BaselineL1,EWC:importance=\(kind):steps=2", learningRate: 1e-2)
        let all = fixture.model.parameters.parameters.map(\.name)
        let starts = all.map(fixture.values)
        var importance = starts.map { $0.map { _ in 0.0 } }
        let batches = source(fixture)
        for index in 0..<2 {
            let report = try step.run(step: index, from: batches)
            #expect((report.metrics["loss.importance"] ?? 0) > 0)
            for (place, name) in all.enumerated() {
                // 4 samples: the mean of their squares is 4 times the square of their mean, on average.
                let gradient = doubles(fixture, step, "importance", name)
                for i in gradient.indices {
                    importance[place][i] += (kind == "mas" ? abs(gradient[i]) : 4 * gradient[i] * gradient[i]) / 2
                }
            }
        }
        #expect(all.map(fixture.values) == starts)
        for index in 2..<4 {
            let expected = zip(all, zip(starts, importance)).reduce(0.0) { sum, item in
                let (start, weight) = item.1
                let now = fixture.values(item.0)
                return sum
                    + now.indices.reduce(0.0) {
                        let distance = Double(now[$1]) - Double(start[$1])
                        return $0 + 50 * weight[$1] * distance * distance
                    }
            }
            let report = try step.run(step: index, from: batches)
            #expect(report.metrics["loss.importance"] == nil)
            let penalty = try #require(report.metrics["importance_penalty"])
            #expect(index == 2 ? penalty == 0 : penalty > 0)
            #expect(abs(penalty - expected) <= 1e-5 * expected, "\(penalty) \(expected)")
        }
    }

    // MARK: - AEGIS

    /// Nothing moves while the anchor is gathered; the same batch is at no distance from it; and then each layer's action
    /// gradient is projected as its Gram matrix says.
    @Test(arguments: ["conflict", "mutual", "always", "off"]) func layersAreProjected(projection: String) throws {
        let fixture = try StepFixture()
        let step = try fixture.step("BaselineL1,AEGIS:calibration=2:projection=\(projection)", learningRate: 1e-2)
        let before = fixture.allValues
        for index in 0..<2 {
            let report = try step.run(step: index, from: source(fixture))
            #expect(report.metrics["loss.aegis"] == nil && fixture.allValues == before)
        }
        let first = try step.run(step: 2, from: source(fixture))
        #expect((first.metrics["loss.aegis"] ?? 1) < 1e-12)
        var worst = 0.0
        let batches = source(fixture, seed: 2)
        for index in 3..<6 {
            let report = try step.run(step: index, from: batches)
            #expect((report.metrics["loss.aegis"] ?? 0) > 0)
            var (energy, removed) = (0.0, 0.0)
            for (block, item) in step.blocks.blocks.enumerated() {
                let a = item.parameters.flatMap { doubles(fixture, step, "action", $0.name) }
                let c = item.parameters.flatMap { doubles(fixture, step, "aegis", $0.name) }
                let dot = { (x: [Double], y: [Double]) in zip(x, y).reduce(0) { $0 + $1.0 * $1.1 } }
                let (aa, ac, cc) = (dot(a, a), dot(a, c), dot(c, c))
                energy += aa
                let acts = aa > 0 && cc > 0 && (projection == "always" || (projection != "off" && ac < 0))
                if acts { removed += ac * ac / cc }
                let expected = [
                    1 + (acts && projection == "mutual" ? 0.1 * -ac / aa : 0), 0.1 + (acts ? -ac / cc : 0),
                ]
                let found = step.combinationWeights[2 * block..<2 * block + 2]
                for (x, y) in zip(found, expected) { worst = max(worst, abs(x - y) / max(abs(y), 1)) }
            }
            let share = try #require(report.metrics["aegis_energy_removed"])
            worst = max(worst, abs(share - removed / energy))
        }
        #expect(worst < 1e-9, "\(worst)")
        print("worst relative error of AEGIS's projection, \(projection): \(worst)")
    }

    // MARK: - Two halves of a step

    /// The cosine and the noise of two halves, from gradients that a second step makes of each half by itself.
    @Test func halvesOfAStepTellNoise() throws {
        let fixture = try StepFixture()
        var settings = StepSettings()
        settings.accumulation = 2
        let step = try fixture.step("BaselineL1,AnchorVariants,UnbiasedConflict", settings: settings)
        // Moves nothing, and has the same anchor.
        let observer = try fixture.step("BaselineL1,AnchorVariants", learningRate: 1e-30, weightDecay: 0)
        let batches = source(fixture)
        _ = try step.run(step: 0, from: batches)
        let place = batches.cursor
        let blocks = step.blocks.blocks.map { $0.parameters.map(\.name) }
        let halves = try (0..<2).map { index in
            _ = try observer.run(step: index, from: batches)
            return ["action", "retention"].map { objective in
                blocks.map { $0.flatMap { doubles(fixture, observer, objective, $0) } }
            }
        }
        try batches.restore(cursor: place)
        let metrics = try step.run(step: 1, from: batches).metrics
        let shared = blocks.indices.filter { block in
            (0..<2).allSatisfy { row in halves[0][row][block].contains { $0 != 0 } }
        }
        func dot(_ x: [Double], _ y: [Double]) -> Double { zip(x, y).reduce(0) { $0 + $1.0 * $1.1 } }
        func cross(_ i: Int, _ j: Int, _ block: Int) -> Double { dot(halves[0][i][block], halves[1][j][block]) }
        func whole(_ i: Int, _ j: Int, _ block: Int) -> Double {
            let rows = [i, j].map { row in zip(halves[0][row][block], halves[1][row][block]).map { ($0 + $1) / 2 } }
            return dot(rows[0], rows[1])
        }
        func sum(_ product: (Int, Int, Int) -> Double, _ i: Int, _ j: Int) -> Double {
            shared.reduce(0) { $0 + product(i, j, $1) }
        }
        let signals = (sum(cross, 0, 0), sum(cross, 1, 1))
        var expected = [
            "cosine_same": sum(whole, 0, 1) / (sum(whole, 0, 0) * sum(whole, 1, 1)).squareRoot(),
            "noise_action": 1 - signals.0 / sum(whole, 0, 0), "noise_retention": 1 - signals.1 / sum(whole, 1, 1),
            "conflict_ratio_same": Double(shared.count { whole(0, 1, $0) < 0 }) / Double(shared.count),
            "conflict_ratio_cross": Double(shared.count { cross(0, 1, $0) + cross(1, 0, $0) < 0 })
                / Double(shared.count),
        ]
        try #require(signals.0 > 0 && signals.1 > 0)
        expected["cosine_cross"] = (sum(cross, 0, 1) + sum(cross, 1, 0)) / 2 / (signals.0 * signals.1).squareRoot()
        var worst = 0.0
        for (name, value) in expected { worst = max(worst, abs((metrics[name] ?? .infinity) - value)) }
        #expect(shared.count > 20 && worst < 1e-6, "\(metrics) \(expected)")
        print("worst error of UnbiasedConflict: \(worst)")
    }
}
