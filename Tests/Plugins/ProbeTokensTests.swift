import PluginRuntime
import Testing

@Suite struct ProbeTokensTests {
    private static let names = ["text", "visual"]

    private func values(
        _ features: [TestArray<Float>], _ anchors: [TestArray<Float>], _ masks: [TestArray<Float>]
    ) -> ValueStore {
        let values = ValueStore()
        for (index, name) in Self.names.enumerated() {
            for (kind, arrays) in [("feature", features), ("anchor", anchors), ("mask", masks)] {
                var view = arrays[index].view
                view.owner = arrays[index]
                values.set("probe.ProbeTokens.\(kind).\(name)", view)
            }
        }
        return values
    }

    private func cotangent(_ values: ValueStore, _ tap: String) -> [Float] {
        values.array("cotangent.probe.probe.ProbeTokens.feature.\(tap)").map { Array($0.floats) } ?? []
    }

    /// Text: anchors 1, 3 (variance 1), features 2, 3, so D = 1/2. Visual: anchors 0, 4 (variance 4), features 2, 4, so
    /// D = (4/2)/4 = 1/2. The padded text token does not count.
    @Test func byHand() throws {
        let features = [TestArray<Float>([2, 3, 9], shape: [1, 3, 1]), TestArray<Float>([2, 4], shape: [1, 2, 1])]
        let anchors = [TestArray<Float>([1, 3, 7], shape: [1, 3, 1]), TestArray<Float>([0, 4], shape: [1, 2, 1])]
        let masks = [TestArray<Float>([1, 1, 0], shape: [1, 3]), TestArray<Float>([1, 1], shape: [1, 2])]
        let values = values(features, anchors, masks)
        try compose("ProbeTokens:text_share=0.25").run(.preBackward, values: values, step: 0)
        #expect(values.double("metric.probe_text") == 0.5 && values.double("metric.probe_visual") == 0.5)
        #expect(values.double("loss.probe") == 0.5)
        // share * 2 / (N Var) * (f - f~): 1/4 * 2/2 * 1 and 3/4 * 2/8 * 2
        #expect(cotangent(values, "text") == [0.25, 0, 0])
        #expect(cotangent(values, "visual") == [0.375, 0])
    }

    @Test func derivativeAgainstFiniteDifferences() throws {
        var numbers = TestNumbers(seed: 5)
        let shapes = [[2, 3, 4], [2, 2, 4]]
        let features = shapes.map { TestArray(numbers.array($0.reduce(1, *)).map { Float($0) }, shape: $0) }
        let anchors = shapes.map { TestArray(numbers.array($0.reduce(1, *)).map { Float(3 + $0) }, shape: $0) }
        let masks = [
            TestArray<Float>([1, 1, 1, 1, 0, 0], shape: [2, 3]), TestArray<Float>([1, 1, 1, 1], shape: [2, 2]),
        ]
        let composition = try compose("ProbeTokens:text_share=0.3")
        let values = values(features, anchors, masks)
        func loss() throws -> Double {
            try composition.run(.preBackward, values: values, step: 0)
            return values.double("loss.probe") ?? .nan
        }
        let value = try loss()
        for (index, name) in Self.names.enumerated() {
            _ = try loss()
            let analytic = cotangent(values, name)
            let worst = try worstGradientError(
                features[index], count: analytic.count, step: 1e-2, analytic, loss)
            #expect(worst < 1e-5 * max(1, value), "\(name): \(worst)")
            #expect(analytic.contains { $0 != 0 })
        }
    }

    /// Nothing has moved: the loss is 0, whatever the anchors.
    @Test func zeroDriftIsExactlyZero() throws {
        let same = [TestArray<Float>([1, 1], shape: [1, 1, 2]), TestArray<Float>([0.3, 0.2], shape: [1, 1, 2])]
        let masks = Self.names.map { _ in TestArray<Float>([1], shape: [1, 1]) }
        let values = values(same, same, masks)
        try compose("ProbeTokens").run(.preBackward, values: values, step: 0)
        #expect(values.double("loss.probe") == 0)
        #expect(Self.names.allSatisfy { cotangent(values, $0).allSatisfy { $0 == 0 } })
        // Text anchors that are all alike give drift no unit.
        let moved = [TestArray<Float>([1, 2], shape: [1, 1, 2]), same[1]]
        let failure = try #require(throws: PluginFailure.self) {
            try compose("ProbeTokens").run(.preBackward, values: self.values(moved, same, masks), step: 0)
        }
        #expect(failure.description.contains("the initial text tokens of this probe are all alike"), "\(failure)")
    }

    private func plan(_ list: String) throws -> ValueStore {
        let values = ValueStore()
        values.set("hidden_states", Int64(5))
        try compose(list).run(.plan, values: values, step: 0)
        return values
    }

    @Test func whatItAsksFor() throws {
        let values = try plan("ProbeTokens")
        #expect(values.integer("probe.ProbeTokens.interval") == 4)
        #expect(values.integer("probe.ProbeTokens.tap.text.layer") == 4)
        #expect(values.integer("probe.ProbeTokens.tap.visual.layer") == 2)
        let broad = try #require(values.array("probe.ProbeTokens.prompts"))
        #expect(broad.shape == [128, 256])
        let questions = broad.integers.split(separator: 0).map { String(decoding: $0.map { UInt8($0) }, as: UTF8.self) }
        #expect(questions.count >= 40 && Set(questions).count == questions.count)
        #expect(questions.allSatisfy { $0.hasSuffix("?") || $0.hasSuffix(".") })

        let own = try plan("far=ProbeTokens:prompts=Où est-ce ?| a | b:interval=2:start=7:visual_layer=-1:text_layer=1")
        let bytes = Array(try #require(own.array("probe.far.prompts")).integers)
        let expected: [[Int64]] = ["Où est-ce ?", "a", "b"].map { text in text.utf8.map { Int64($0) } }
        for (row, text) in expected.enumerated() {
            let written = Array(bytes[(row * 256)...].prefix(text.count + 1))
            #expect(written == text + [0])
        }
        let rest = bytes[(3 * 256)...]
        #expect(rest.allSatisfy { $0 == 0 })
        #expect(own.integer("probe.far.start") == 7 && own.integer("probe.far.interval") == 2)
        #expect(own.integer("probe.far.tap.visual.layer") == 4 && own.integer("probe.far.tap.text.layer") == 1)
    }

    @Test(arguments: [
        ("prompts= | ", "has none"), ("prompts=\(String(repeating: "x", count: 257))", "has 257"),
        ("text_layer=top", "or an integer, not"),
        ("unchanged=0:jitter=0:shuffle=0:mix=0", "give one of them a share"), ("interval=0", "interval"),
        ("text_share=2", "text_share"), ("weight=-1", "weight"),
    ]) func refuses(_ setting: String, _ words: String) throws {
        let text = try problems("ProbeTokens:\(setting)").map { "\($0)" }.joined()
        #expect(text.contains(words), "\(text)")
    }

    /// Two probes, each with its objective, its multiplier and a projection.
    @Test func composesWithTheOthers() throws {
        let composition = try compose(
            "BaselineL1,AnchorVariants,ProbeTokens,far=ProbeTokens:objective=far:interval=8,"
                + "CRaFTProjection:constraint=probe,CRaFTDual:objective=probe:budget=0.05,nuPI:objective=far")
        #expect(composition.objectives == ["action", "retention", "probe", "far"])
        #expect(composition.provider(of: "lambda.probe") == "CRaFTDual")
        #expect(composition.reads("probe.far.anchor.text") && composition.reads("probe.ProbeTokens.feature.visual"))
    }
}
