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

    @Test(arguments: ["mse", "relative_mse"])
    func cotangentsMatchFiniteDifferences(distance: String) throws {
        var numbers = TestNumbers(seed: 5)
        func tap(_ shape: [Int], mask: [Float]?) -> Tap {
            let count = shape.reduce(1, *)
            return Tap(
                numbers.array(count).map { Float($0) }, numbers.array(count).map { Float($0) }, shape: shape, mask: mask
            )
        }
        let visual = tap([2, 3, 2], mask: [1, 1, 0, 1, 1, 1])
        let query = tap([2, 2, 3], mask: nil)
        let composition = try compose("AnchorVariants:pooling=none:distance=\(distance)")
        let values = try run(composition, visual: visual, query: query)
        for (name, tap) in [("visual", visual), ("query", query)] {
            let analytic = try #require(cotangent(values, name))
            let worst = try worstGradientError(tap.features, count: 12, step: 1e-2, analytic) {
                try #require(try run(composition, visual: visual, query: query).double("loss.retention"))
            }
            #expect(worst < 1e-5, "\(name)")
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
        let problem = try #require(try problems("AnchorVariants:layer=last").first)
        #expect(problem.problem.contains("layer is 'middle' or an integer, not 'last'"))
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
