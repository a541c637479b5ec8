import Foundation
import PluginRuntime
import TestSupport
import Testing

@Suite struct CRaFTProjectionTests {
    private struct Outcome {
        /// `[k][action, retention]`
        var weights: [[Double]] = []
        var ratio, ratioNumel, cosine, normRatio, headroom: Double?
    }

    /// Runs the hook on blocks of (|a|^2, <a,c>, |c|^2).
    private func run(
        _ blocks: [(Double, Double, Double)], lambda: Double = 0, action: Double = 1, settings: String = "",
        numel: [Int64]? = nil
    ) throws -> Outcome {
        let composition = try compose("BaselineL1,AnchorVariants,CRaFTProjection\(settings)")
        let values = ValueStore()
        let gram = TestArray<Double>(blocks.flatMap { [$0.0, $0.1, $0.1, $0.2] }, shape: [blocks.count, 2, 2])
        let weights = TestArray<Double>(blocks.flatMap { _ in [action, lambda] }, shape: [blocks.count, 2])
        let sizes = TestArray<Int64>(numel ?? blocks.map { _ in 1 }, shape: [blocks.count])
        values.set("gram", gram.view)
        values.set("weights", weights.view)
        values.set("numel", sizes.view)
        values.set("index.action", Int64(0))
        values.set("index.retention", Int64(1))
        values.set("lambda.retention", lambda)
        try composition.run(.gradientCombine, values: values, step: 0)
        var outcome = Outcome()
        let combined = Array(try #require(values.array("weights")).doubles)
        outcome.weights = blocks.indices.map { Array(combined[2 * $0..<2 * $0 + 2]) }
        outcome.ratio = values.double("metric.conflict_ratio")
        outcome.ratioNumel = values.double("metric.conflict_ratio_numel")
        outcome.cosine = values.double("metric.gradient_cosine")
        outcome.normRatio = values.double("metric.gradient_norm_ratio")
        outcome.headroom = values.double("metric.lambda_headroom")
        return outcome
    }

    private func gram(_ a: [Double], _ c: [Double]) -> (Double, Double, Double) {
        func dot(_ x: [Double], _ y: [Double]) -> Double { zip(x, y).reduce(0) { $0 + $1.0 * $1.1 } }
        return (dot(a, a), dot(a, c), dot(c, c))
    }

    private func combine(_ weights: [Double], _ a: [Double], _ c: [Double]) -> [Double] {
        zip(a, c).map { weights[0] * $0 + weights[1] * $1 }
    }

    private func expectClose(
        _ left: [Double], _ right: [Double], _ tolerance: Double = 1e-12,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(left.count == right.count, sourceLocation: sourceLocation)
        for (x, y) in zip(left, right) {
            #expect(abs(x - y) <= tolerance * max(abs(y), 1), "\(left) \(right)", sourceLocation: sourceLocation)
        }
    }

    /// g_act=(1,2,-1), g_ret=(-2,0,1): projected (-0.2,2,-0.4), orthogonal to g_ret; with lambda .5 (-1.2,2,0.1).
    @Test func workedExample() throws {
        let (a, c) = ([1.0, 2, -1], [-2.0, 0, 1])
        let projected = combine(try run([gram(a, c)]).weights[0], a, c)
        expectClose(projected, [-0.2, 2, -0.4])
        expectClose([zip(projected, c).reduce(0) { $0 + $1.0 * $1.1 }], [0])
        expectClose(combine(try run([gram(a, c)], lambda: 0.5).weights[0], a, c), [-1.2, 2, 0.1])
    }

    /// J=[[1,0],[-1,1]]: the row of CRaFT, and its largest multiplier .5 (beyond it the action loss rises).
    @Test func handCheckableValues() throws {
        let block = gram([1, 0], [-1, 1])
        let quarter = try run([block], lambda: 0.25)
        #expect(quarter.weights == [[1, 0.75]])
        expectClose([try #require(quarter.headroom)], [0.25])
        let one = try run([block], lambda: 1)
        #expect(one.weights == [[1, 1.5]])
        expectClose([try #require(one.headroom)], [-0.5])
        #expect(one.ratio == 1)
        expectClose([try #require(one.cosine), try #require(one.normRatio)], [-0.5.squareRoot(), 2.squareRoot()])
    }

    private struct Case: Decodable {
        let id: String
        let gram: [[Double]]
        let weights: [Double]
    }

    private struct Cases: Decodable { let cases: [Case] }

    /// Independent float64 solutions; they add the constraint's gradient once, hence lambda 1.
    @Test func pinnedCases() throws {
        let data = try Data(contentsOf: BuildFolder.fixture("projection.json"))
        let cases = try JSONDecoder().decode(Cases.self, from: data).cases
        #expect(cases.count >= 6)
        for item in cases {
            let outcome = try run([(item.gram[0][0], item.gram[0][1], item.gram[1][1])], lambda: 1)
            expectClose(outcome.weights[0], item.weights)
        }
    }

    /// Agreement leaves the weights bit for bit as they were.
    @Test func noConflictIsIdentity() throws {
        var numbers = TestNumbers(seed: 1)
        for _ in 0..<50 {
            let (a, b) = (numbers.array(5), numbers.array(5))
            var block = gram(a, b)
            block.1 = abs(block.1)
            let outcome = try run([block], lambda: 0.3, action: 0.7)
            #expect(outcome.weights == [[0.7, 0.3]])
            #expect(outcome.ratio == 0)
        }
    }

    /// The result does not depend on the scale of either gradient: no absolute epsilon anywhere.
    @Test(arguments: [1e-12, 1e-8, 1e-4, 1, 1e4, 1e8, 1e12])
    func scaleFree(scale: Double) throws {
        let (a, c) = ([1.0, 2, -1], [-2.0, 0, 1])
        for (scaleA, scaleC) in [(scale, 1), (1, scale), (scale, scale), (scale, 1 / scale)] {
            let left = a.map { $0 * scaleA }
            let right = c.map { $0 * scaleC }
            let outcome = try run([gram(left, right)])
            let projected = combine(outcome.weights[0], left, right)
            expectClose(projected.map { $0 / scaleA }, [-0.2, 2, -0.4])
            expectClose([try #require(outcome.cosine)], [-3 / 30.0.squareRoot()])
            expectClose([try #require(outcome.normRatio) / (scaleC / scaleA)], [(5.0 / 6).squareRoot()])
        }
    }

    @Test func zeroGradients() throws {
        for block in [(0.0, 0.0, 0.0), (1, 0, 0), (0, 0, 1)] {
            let outcome = try run([block], lambda: 0.2)
            #expect(outcome.weights == [[1, 0.2]])
            #expect(outcome.ratio == nil)
            #expect(outcome.cosine == nil)
            #expect(outcome.headroom == nil)
        }
    }

    /// Exactly opposed: nothing of the action gradient is left.
    @Test func opposedGradients() throws {
        let (a, c) = ([1.0, 2, -1], [-2.0, -4, 2])
        let outcome = try run([gram(a, c)])
        expectClose(combine(outcome.weights[0], a, c), [0, 0, 0])
        #expect(outcome.cosine == -1)
        expectClose([try #require(outcome.headroom)], [0])
    }

    /// What is below the rounding of the inner product is no conflict.
    @Test func roundingIsNoConflict() throws {
        let outcome = try run([(1, -1e-17, 1), (1, -1e-15, 1)])
        #expect(outcome.ratio == 0.5)
        #expect(outcome.weights[0] == [1, 0])
    }

    /// Random conflicts: the projected action gradient is orthogonal to the constraint's, to rounding.
    @Test func projectedGradientIsOrthogonal() throws {
        var numbers = TestNumbers(seed: 2)
        for _ in 0..<200 {
            let (a, c) = (numbers.array(7), numbers.array(7))
            let block = gram(a, c)
            guard block.1 < 0 else { continue }
            let projected = combine(try run([block]).weights[0], a, c)
            let dot = gram(projected, c).1
            #expect(abs(dot) <= 1e-12 * (block.0 * block.2).squareRoot())
        }
    }

    @Test func statisticsOverBlocks() throws {
        // Conflict, agreement, untouched by the constraint, conflict.
        let outcome = try run(
            [(4, -2, 1), (1, 1, 1), (9, 0, 0), (1, -1, 4)], numel: [10, 20, 1000, 30])
        #expect(outcome.weights == [[1, 2], [1, 0], [1, 0], [1, 0.25]])
        expectClose([try #require(outcome.ratio)], [2.0 / 3])
        expectClose([try #require(outcome.ratioNumel)], [40.0 / 60])
        expectClose([try #require(outcome.cosine)], [-2 / 36.0.squareRoot()])
        expectClose([try #require(outcome.normRatio)], [1])
        // (0 + 1 + 9 + 0.75) / 2
        expectClose([try #require(outcome.headroom)], [5.375])
    }

    /// The weight an earlier plugin gave the action scales what is projected.
    @Test func chainedWeights() throws {
        #expect(try run([gram([1, 0], [-1, 1])], lambda: 0.25, action: 2).weights == [[2, 1.25]])
    }

    @Test func measuringWithoutProjecting() throws {
        let outcome = try run([gram([1, 0], [-1, 1])], lambda: 0.25, settings: ":enable=false")
        #expect(outcome.weights == [[1, 0.25]])
        #expect(outcome.ratio == 1)
        // Without projection the limit is |a|^2 / |<a,c>|.
        expectClose([try #require(outcome.headroom)], [0.75])
    }

    @Test(arguments: zip(["tensor", "layer", "module", "global"], 0...3))
    func scope(name: String, code: Int) throws {
        let values = ValueStore()
        try compose("BaselineL1,CRaFTProjection:scope=\(name)").run(.plan, values: values, step: 0)
        #expect(values.integer("block_scope") == Int64(code))
    }

    /// Without the constraint there is nothing to do, and that is not an error.
    @Test func absentConstraint() throws {
        let composition = try compose("BaselineL1,CRaFTProjection")
        let values = ValueStore()
        let gram = TestArray<Double>([4], shape: [1, 1, 1])
        let weights = TestArray<Double>([0.5], shape: [1, 1])
        let numel = TestArray<Int64>([3], shape: [1])
        values.set("gram", gram.view)
        values.set("weights", weights.view)
        values.set("numel", numel.view)
        values.set("index.action", Int64(0))
        try composition.run(.gradientCombine, values: values, step: 0)
        #expect(values.array("weights").map { Array($0.doubles) } == [0.5])
        #expect(values.double("metric.conflict_ratio") == nil)
    }

    @Test func twoConstraints() throws {
        let list = "BaselineL1,AnchorVariants,AnswerLoss,CRaFTProjection,second=CRaFTProjection:constraint=answer"
        #expect(try problems(list).map(\.kind).allSatisfy { $0 == .duplicateProvider })
        let composition = try compose(list + ":prefix=answer_")
        #expect(composition.provider(of: "weights") == "second")
        #expect(composition.provider(of: "metric.answer_conflict_ratio") == "second")
        try composition.run(.plan, values: planned(), step: 0)
    }

    @Test func settingsThatDoNotGoTogether() throws {
        let problem = try #require(try problems("BaselineL1,CRaFTProjection:constraint=action").first)
        #expect(problem.kind == .refused)
        #expect(problem.problem.contains("objective and constraint are both 'action'"))
    }

    private func planned() -> ValueStore {
        let values = ValueStore()
        values.set("hidden_states", Int64(25))
        return values
    }
}
