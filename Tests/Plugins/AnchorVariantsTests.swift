import PluginRuntime
import Testing

@Suite struct AnchorVariantsTests {
    /// Features and anchors of one tap.
    private struct Tap {
        let features: TestArray<Float>
        let anchors: TestArray<Float>
        var mask: TestArray<Float>?

        init(_ features: [Float], _ anchors: [Float], shape: [Int], mask: [Float]? = nil) {
            self.features = TestArray(features, shape: shape)
            self.anchors = TestArray(anchors, shape: shape)
            self.mask = mask.map { TestArray($0, shape: Array(shape[..<2])) }
        }

        func put(_ name: String, into values: ValueStore) {
            values.set("feature.AnchorVariants.\(name)", features.view)
            values.set("anchor.AnchorVariants.\(name)", anchors.view)
            if let mask { values.set("mask.AnchorVariants.\(name)", mask.view) }
        }
    }

    private func run(_ composition: Composition, visual: Tap?, query: Tap?) throws -> ValueStore {
        let values = ValueStore()
        visual?.put("visual", into: values)
        query?.put("query", into: values)
        try composition.run(.preBackward, values: values, step: 0)
        return values
    }

    private func cotangent(_ values: ValueStore, _ tap: String) -> [Float]? {
        values.array("cotangent.retention.feature.AnchorVariants.\(tap)").map { Array($0.floats) }
    }

    /// Mean over batch and features of the concatenation: B=1, 2 visual and 4 query dimensions.
    @Test func meanSquareOfTheConcatenation() throws {
        let visual = Tap([1, 2], [0, 0], shape: [1, 1, 2])
        let query = Tap([1, 1, 1, 5], [1, 1, 1, 2], shape: [1, 1, 4])
        let composition = try compose("AnchorVariants")
        let values = try run(composition, visual: visual, query: query)
        #expect(values.double("loss.retention") == (1 + 4 + 9) / 6.0)
        #expect(cotangent(values, "visual") == [Float(2) / 6, Float(4) / 6])
        #expect(cotangent(values, "query") == [0, 0, 0, 1])
        // The visual anchors do not vary: there is no variance to divide by.
        #expect(values.double("metric.retention_relative") == nil)
    }

    @Test func zeroDriftIsExactlyZero() throws {
        var numbers = TestNumbers(seed: 4)
        let same = numbers.array(24).map { Float($0) }
        let tap = Tap(same, same, shape: [2, 3, 4])
        let values = try run(try compose("AnchorVariants:pooling=none"), visual: tap, query: tap)
        #expect(values.double("loss.retention") == 0)
        #expect(cotangent(values, "visual")?.allSatisfy { $0 == 0 } == true)
        #expect(values.double("metric.retention_relative") == 0)
    }

    @Test func oneTapOnly() throws {
        let tap = Tap([1, 3], [0, 1], shape: [1, 1, 2])
        let raw = try compose("AnchorVariants:type=raw_only")
        var values = try run(raw, visual: tap, query: nil)
        #expect(values.double("loss.retention") == 2.5)
        #expect(cotangent(values, "visual") == [1, 2])
        #expect(cotangent(values, "query") == nil)
        // (1 + 4) / 0.25 / 2
        #expect(values.double("metric.retention_relative") == 10)

        let queries = try compose("AnchorVariants:type=aq_only")
        values = try run(queries, visual: nil, query: tap)
        #expect(values.double("loss.retention") == 2.5)
        #expect(cotangent(values, "visual") == nil)

        let failure = try #require(throws: PluginFailure.self) { try run(raw, visual: nil, query: tap) }
        #expect(failure.message == "the host gave no visual features, though the plan turned their tap on")
    }

    /// Padding counts neither in the loss nor in its mean, and gets no gradient.
    @Test func masks() throws {
        let tap = Tap([1, 1, 9, 9, 2, 0, 3, 0], [0, 0, 0, 0, 0, 0, 0, 0], shape: [2, 2, 2], mask: [1, 0, 1, 1])
        let composition = try compose("AnchorVariants:type=raw_only:pooling=none")
        let values = try run(composition, visual: tap, query: nil)
        #expect(values.double("loss.retention") == (1 + 1 + 4 + 9) / 6.0)
        let scale = Float(2) / 6
        #expect(cotangent(values, "visual") == [scale, scale, 0, 0, 2 * scale, 0, 1, 0])

        let padded = Tap([1, 1], [0, 0], shape: [1, 1, 2], mask: [0])
        let failure = try #require(throws: PluginFailure.self) { try run(composition, visual: padded, query: nil) }
        #expect(failure.message == "the visual tap has no tokens in this batch (shape [1, 1, 2])")
    }

    /// Scaling a tap's features and anchors together changes nothing.
    @Test func relativeDistance() throws {
        let composition = try compose("AnchorVariants:distance=relative_mse")
        let query = Tap([0, 1], [1, 3], shape: [1, 1, 2])
        let losses = try [Float(1), 1e-6, 1e6].map { scale in
            let visual = Tap([2, 4].map { $0 * scale }, [1, 3].map { $0 * scale }, shape: [1, 1, 2])
            let values = try run(composition, visual: visual, query: query)
            #expect(values.double("metric.retention_relative") == values.double("loss.retention"))
            return try #require(values.double("loss.retention"))
        }
        // Variances 1: (2 + 5) / 4.
        for loss in losses { #expect(abs(loss - 1.75) < 1e-6) }

        let flat = Tap([2, 4], [1, 1], shape: [1, 1, 2])
        let failure = try #require(throws: PluginFailure.self) { try run(composition, visual: flat, query: query) }
        #expect(failure.message.contains("variance, which is 0"))
    }

    // MARK: - Angles

    @Test func cosineDistance() throws {
        // Angles 90 and 0 degrees, and 60 in the query tap: the mean over three positions.
        let visual = Tap([2, 0, 3, 3], [0, 5, 1, 1], shape: [1, 2, 2])
        let query = Tap([1, 0], [0.5, Float(0.75).squareRoot()], shape: [1, 1, 2])
        let composition = try compose("AnchorVariants:distance=cosine:pooling=none")
        let values = try run(composition, visual: visual, query: query)
        let loss = try #require(values.double("loss.retention"))
        #expect(abs(loss - (1 + 0 + 0.5) / 3) < 1e-7)
        // Turning towards the anchor lowers the loss; the length does not matter.
        let found = try #require(cotangent(values, "visual"))
        let expected: [Float] = [0, -1.0 / 6, 0, 0]
        #expect(zip(found, expected).allSatisfy { abs($0 - $1) < 1e-7 }, "\(found)")
        // No angle: a zero feature counts 1, two zeros nothing.
        let zero = Tap([0, 0, 0, 0], [1, 0, 0, 0], shape: [1, 2, 2])
        let undefined = try run(try compose("AnchorVariants:distance=cosine:type=raw_only"), visual: zero, query: nil)
        #expect(undefined.double("loss.retention") == 0.5)
        #expect(cotangent(undefined, "visual") == [0, 0, 0, 0])
    }

    /// Against the definition: 1 - |X'Y|^2 / (|X'X| |Y'Y|) on centred positions, in both forms of the computation.
    @Test(arguments: [(5, 3), (3, 5)])
    func linearCKA(positions: Int, width: Int) throws {
        var numbers = TestNumbers(seed: 12)
        let x = (0..<positions).map { _ in numbers.array(width).map { Float($0) } }
        let y = (0..<positions).map { _ in numbers.array(width).map { Float($0) } }
        func centred(_ rows: [[Float]]) -> [[Double]] {
            let sums = combine(rows.map { _ in 1 }, rows.map { $0.map(Double.init) })
            let mean = sums.map { $0 / Double(positions) }
            return rows.map { row in (0..<width).map { Double(row[$0]) - mean[$0] } }
        }
        func kernel(_ rows: [[Double]]) -> [Double] { gramMatrix(rows) }
        let (k, l) = (kernel(centred(x)), kernel(centred(y)))
        let expected = 1 - dot(k, l) / norm(k) / norm(l)
        let tap = Tap(x.flatMap { $0 }, y.flatMap { $0 }, shape: [1, positions, width])
        let composition = try compose("AnchorVariants:distance=linear_cka:type=raw_only:pooling=none")
        let loss = try #require(try run(composition, visual: tap, query: nil).double("loss.retention"))
        #expect(abs(loss - expected) <= 1e-12)
        // Neither a rotation of the coordinates nor a scale nor an offset is drift.
        let turned: [[Float]] = x.map { row in row.reversed().map { (value: Float) -> Float in 2 * value + 3 } }
        let same = Tap(turned.flatMap { $0 }, x.flatMap { $0 }, shape: [1, positions, width])
        #expect(abs(try #require(try run(composition, visual: same, query: nil).double("loss.retention"))) <= 1e-6)
    }

    @Test func linearCKANeedsPositionsThatDiffer() throws {
        let composition = try compose("AnchorVariants:distance=linear_cka:type=raw_only")
        let one = Tap([1, 2], [0, 1], shape: [1, 1, 2])
        var failure = try #require(throws: PluginFailure.self) { try run(composition, visual: one, query: nil) }
        #expect(failure.message.contains("needs two or more"))
        let flat = Tap([1, 2, 1, 2], [0, 1, 1, 1], shape: [2, 1, 2])
        failure = try #require(throws: PluginFailure.self) { try run(composition, visual: flat, query: nil) }
        #expect(failure.message.contains("all the same"))
    }

    @Test(arguments: ["mse", "relative_mse", "cosine", "linear_cka"])
    func noDriftIsExactlyZero(distance: String) throws {
        var numbers = TestNumbers(seed: 14)
        let same = numbers.array(48).map { Float($0) }
        for shape in [[2, 6, 4], [2, 1, 24]] {
            let tap = Tap(same, same, shape: shape)
            let values = try run(try compose("AnchorVariants:distance=\(distance)"), visual: tap, query: tap)
            #expect(values.double("loss.retention") == 0)
            // A unit vector's rounding is all that a cosine's derivative has left.
            #expect(cotangent(values, "visual")?.allSatisfy { abs($0) < 1e-15 } == true)
        }
    }

    // MARK: - All layers

    /// Two layers of one token each: every layer is compared on its own scale.
    @Test func everyLayerHasItsOwnVariance() throws {
        let composition = try compose("AnchorVariants:type=raw_only:layer=all:distance=relative_mse:pooling=none")
        let planned = ValueStore()
        planned.set("hidden_states", Int64(3))
        try composition.run(.plan, values: planned, step: 0)
        #expect(planned.integer("tap.AnchorVariants.visual.layer") == -2)
        // Sample by sample, layer after layer; the second layer is a thousand times larger.
        let tap = Tap(
            [2, 3, 2000, 3000, 1, 3, 1000, 3000], [1, 3, 1000, 3000, 1, 3, 1000, 3000], shape: [2, 2, 2])
        let values = try run(composition, visual: tap, query: nil)
        // Each layer: one square of one variance in four elements.
        #expect(values.double("loss.retention") == 0.25)
        #expect(cotangent(values, "visual") == [0.25, 0, 0.00025, 0, 0, 0, 0, 0])

        let odd = Tap([1, 2, 3], [1, 2, 3], shape: [1, 3, 1])
        let failure = try #require(throws: PluginFailure.self) { try run(composition, visual: odd, query: nil) }
        #expect(failure.message.contains("not that of 2 layers"))
    }

    @Test func anchorVarianceIsReported() throws {
        let visual = Tap([1, 2], [1, 3], shape: [1, 1, 2])
        let query = Tap([0, 0], [2, 6], shape: [1, 1, 2])
        let values = try run(try compose("AnchorVariants"), visual: visual, query: query)
        #expect(values.double("metric.retention_anchor_variance") == (1 + 4) / 2.0)
    }

    @Test(arguments: ["mse", "relative_mse", "cosine", "linear_cka"])
    func cotangentsMatchFiniteDifferences(distance: String) throws {
        var numbers = TestNumbers(seed: 5)
        func tap(_ shape: [Int], mask: [Float]?) -> Tap {
            let count = shape.reduce(1, *)
            return Tap(
                numbers.array(count).map { Float($0) }, numbers.array(count).map { Float($0) }, shape: shape, mask: mask
            )
        }
        let visual = tap([2, 3, 2], mask: [1, 1, 0, 1, 1, 1])
        // More elements than positions in one tap, fewer in the other.
        let query = tap([2, 1, 6], mask: nil)
        let composition = try compose("AnchorVariants:pooling=none:distance=\(distance)")
        let values = try run(composition, visual: visual, query: query)
        for (name, tap) in [("visual", visual), ("query", query)] {
            let analytic = try #require(cotangent(values, name))
            let worst = try worstGradientError(tap.features, count: 12, step: 1e-2, analytic) {
                try #require(try run(composition, visual: visual, query: query).double("loss.retention"))
            }
            // Central differences miss the third derivative, which an angle has.
            #expect(worst < (distance == "cosine" ? 5e-5 : 1e-5), "\(name)")
        }
    }

    // MARK: - Plan

    private func plan(_ settings: String, states: Int64 = 25) throws -> (ValueStore, (String) -> Int64?) {
        let values = ValueStore()
        values.set("hidden_states", states)
        try compose("AnchorVariants\(settings)").run(.plan, values: values, step: 0)
        return (values, { values.integer("tap.AnchorVariants.\($0)") })
    }

    @Test func defaultTaps() throws {
        let (values, tap) = try plan("")
        #expect(values.double("weight.retention") == 0.1)
        #expect([tap("visual.layer"), tap("visual.tokens"), tap("visual.pooling")] == [12, 0, 1])
        #expect([tap("query.layer"), tap("query.tokens"), tap("query.pooling")] == [24, 3, 1])
    }

    @Test(arguments: [
        ("middle", Int64(25), Int64(12)), ("middle", 2, 1), ("middle", 1, 0), ("0", 25, 0), ("-1", 25, 24),
        ("-25", 25, 0), ("-26", 25, 0), ("24", 25, 24), ("25", 25, 24), ("9223372036854775807", 25, 24),
        ("-9223372036854775808", 25, 0),
    ])
    func layers(layer: String, states: Int64, expected: Int64) throws {
        #expect(try plan(":layer=\(layer)", states: states).1("visual.layer") == expected)
    }

    @Test func variants() throws {
        var tap = try plan(":type=aq_only:pooling=max").1
        #expect([tap("visual.layer"), tap("query.layer"), tap("query.pooling")] == [-1, 24, 2])
        tap = try plan(":type=raw_only:tokens=vision_plus_prompt:pooling=none").1
        #expect([tap("query.layer"), tap("visual.tokens"), tap("visual.pooling")] == [-1, 1, 0])
        tap = try plan(":layer=all").1
        #expect([tap("visual.layer"), tap("query.layer")] == [-2, -2])
        tap = try plan(":layer=all:type=aq_only").1
        #expect([tap("visual.layer"), tap("query.layer")] == [-1, -2])
        let problem = try #require(try problems("AnchorVariants:layer=last").first)
        #expect(problem.problem.contains("layer is 'middle', 'all' or an integer, not 'last'"))
    }

    /// Two anchors with their own taps, objectives and multipliers.
    @Test func twoInstances() throws {
        let composition = try compose("AnchorVariants,tokens=AnchorVariants:objective=token_retention:pooling=none")
        #expect(composition.objectives == ["retention", "token_retention"])
        #expect(
            composition.provided(matching: "tap.{id}.layer", capture: "id")
                == ["AnchorVariants.visual", "AnchorVariants.query", "tokens.visual", "tokens.query"])
        #expect(composition.reads("feature.tokens.query", at: .preBackward))
    }
}
