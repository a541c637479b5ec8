import Foundation
import PluginRuntime
import TestSupport
import Testing

@Suite struct CRaFTDualTests {
    /// The multiplier after each of `losses`.
    private func trajectory(_ losses: [Double], _ settings: String) throws -> [Double] {
        let composition = try compose("AnchorVariants,CRaFTDual:\(settings)")
        let values = ValueStore()
        values.set("hidden_states", Int64(25))
        try composition.run(.plan, values: values, step: 0)
        return try losses.enumerated().map { step, loss in
            values.set("loss.retention", loss)
            try composition.run(.postStep, values: values, step: step)
            return try #require(values.double("lambda.retention"))
        }
    }

    private func expectClose(_ left: [Double], _ right: [Double], sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(left.count == right.count, sourceLocation: sourceLocation)
        for (x, y) in zip(left, right) {
            #expect(abs(x - y) <= 1e-14, "\(left) \(right)", sourceLocation: sourceLocation)
        }
    }

    @Test func workedExample() throws {
        expectClose(
            try trajectory([0.05, 0.3, 0.5, 0.2, 0, 0], "budget=0.1:lr=0.01"), [0, 0.002, 0.006, 0.007, 0.006, 0.005])
        // These are the defaults.
        #expect(
            try trajectory([0.3, 0.7], "rule=ascent") == trajectory([0.3, 0.7], "budget=0.1:lr=0.01:init=0:max=inf"))
    }

    private struct Cases: Decodable {
        let violations: [Double]
        let ascent: [String: [Double]]

        enum CodingKeys: String, CodingKey {
            case violations
            case ascent = "projected_gradient_ascent"
        }
    }

    @Test(arguments: ["0.1", "1.0"])
    func pinnedTrajectories(rate: String) throws {
        let cases = try JSONDecoder().decode(Cases.self, from: Data(contentsOf: BuildFolder.fixture("dual.json")))
        let expected = try #require(cases.ascent["eta=\(rate)"])
        expectClose(try trajectory(cases.violations.map { $0 + 1 }, "budget=1:lr=\(rate)"), expected)
    }

    @Test func normalisedRuleMovesAtMostItsRate() throws {
        // Violation ratios: +99 (clipped to 1), +.5, 0, -.5, -1.
        expectClose(
            try trajectory([10, 0.15, 0.1, 0.05, 0], "rule=normalised:lr=0.02:init=0.1"),
            [0.12, 0.13, 0.13, 0.12, 0.10])
    }

    @Test func boundsAndFixedPoint() throws {
        #expect(try trajectory([5, 5, 5], "lr=1:max=6:budget=0") == [5, 6, 6])
        #expect(try trajectory([0.1, 0.1], "init=0.25") == [0.25, 0.25])
        #expect(try trajectory([0, 0], "init=0.25:lr=100") == [0, 0])
    }

    @Test func metrics() throws {
        let composition = try compose("AnchorVariants,CRaFTDual:budget=0.2")
        let values = ValueStore()
        values.set("loss.retention", 0.5)
        values.set("lambda.retention", 0.0)
        try composition.run(.postStep, values: values, step: 0)
        #expect(values.double("metric.retention_budget") == 0.2)
        #expect(values.double("metric.retention_over_budget") == 2.5)
        #expect(composition.provider(of: "lambda.retention") == "CRaFTDual")
    }

    @Test func budgetRelativeToTheAnchors() throws {
        let composition = try compose("AnchorVariants,CRaFTDual:budget=0.05:budget_unit=anchor_variance:lr=1")
        let values = ValueStore()
        values.set("loss.retention", 0.3)
        values.set("lambda.retention", 0.0)
        values.set("metric.retention_anchor_variance", 4.0)
        try composition.run(.postStep, values: values, step: 0)
        #expect(values.double("metric.retention_budget") == 0.2)
        #expect(abs((values.double("lambda.retention") ?? 0) - 0.1) <= 1e-15)
        values.remove("metric.retention_anchor_variance")
        let failure = try #require(throws: PluginFailure.self) {
            try composition.run(.postStep, values: values, step: 1)
        }
        #expect(failure.message.contains("no plugin gives: AnchorVariants does"))
    }

    /// Several objectives, each with its own multiplier.
    @Test func twoInstances() throws {
        let composition = try compose(
            "AnchorVariants,AnswerLoss,CRaFTDual,b=CRaFTDual:objective=answer:budget=2:init=1:lr=1")
        let values = ValueStore()
        values.set("hidden_states", Int64(25))
        try composition.run(.plan, values: values, step: 0)
        #expect(values.double("lambda.retention") == 0)
        #expect(values.double("lambda.answer") == 1)
        values.set("loss.retention", 0.1)
        values.set("loss.answer", 2.5)
        try composition.run(.postStep, values: values, step: 0)
        #expect(values.double("lambda.retention") == 0)
        #expect(values.double("lambda.answer") == 1.5)
        #expect(composition.objectives == ["retention", "answer"])
    }

    /// Any subset of the four is a run; what has nothing to do is told.
    @Test func withoutItsObjectiveItDoesNothing() throws {
        let composition = try compose("BaselineL1,CRaFTDual")
        #expect(
            composition.plan.notes == [
                "CRaFTDual is about 'loss.retention', which no plugin in the list provides: it has nothing to do there"
            ])
        #expect(composition.plan.description.contains("note: CRaFTDual is about"))
        let values = ValueStore()
        values.set("loss.action", 0.5)
        try composition.run(.postStep, values: values, step: 0)
        #expect(values.names == ["loss.action"])
        let typo = try compose("BaselineL1,AnchorVariants,CRaFTDual:objective=retntion")
        #expect(typo.plan.notes.first?.hasSuffix("did you mean 'loss.retention'?") == true, "\(typo.plan.notes)")
        #expect(try compose("BaselineL1,AnchorVariants,CRaFTProjection,CRaFTDual,DWA").plan.notes.isEmpty)
    }

    @Test(arguments: [
        ("init=2:max=1", "init=2.0 is above max=1.0"), ("rule=normalised:budget=0", "give a budget above 0"),
        ("init=inf", "must be finite"),
    ])
    func settingsThatDoNotGoTogether(settings: String, words: String) throws {
        let problem = try #require(try problems("AnchorVariants,CRaFTDual:\(settings)").first)
        #expect(problem.kind == .refused)
        #expect(problem.problem.contains(words), "\(problem)")
    }
}
