import Foundation
import PluginRuntime
import TestSupport
import Testing

/// Multiplier rules beside CRaFTDual.
@Suite struct MultiplierRuleTests {
    /// The multiplier after each of `losses`.
    private func trajectory(_ losses: [Double], _ plugin: String) throws -> [Double] {
        let composition = try compose("AnchorVariants,\(plugin)")
        return try run(composition, losses, from: 0)
    }

    private func run(_ composition: Composition, _ losses: [Double], from step: Int, lambda: Double? = nil) throws
        -> [Double]
    {
        let values = ValueStore()
        values.set("hidden_states", Int64(25))
        try composition.run(.plan, values: values, step: 0)
        if let lambda { values.set("lambda.retention", lambda) }
        return try losses.enumerated().map { offset, loss in
            values.set("loss.retention", loss)
            values.set("step", Int64(step + offset))
            try composition.run(.postStep, values: values, step: step + offset)
            return try #require(values.double("lambda.retention"))
        }
    }

    private struct Cases: Decodable {
        let violations: [Double]
        let nuPI: [String: [Double]]
        let variant: [String: [Double]]

        enum CodingKeys: String, CodingKey {
            case violations, nuPI
            case variant = "nuPI_docstring_variant"
        }
    }

    @Test(arguments: [
        ("eta=1,Kp=0,Ki=1,nu=0 (== projected ascent)", "kp=0"), ("eta=1,Kp=1,Ki=1,nu=0", "kp=1"),
        ("eta=1,Kp=2,Ki=1,nu=0.5", "kp=2:nu=0.5"), ("eta=1,Kp=2,Ki=1,nu=0.5,ZEROS", "kp=2:nu=0.5:start=zeros"),
    ])
    func pinnedNuPI(key: String, settings: String) throws {
        let cases = try JSONDecoder().decode(Cases.self, from: Data(contentsOf: BuildFolder.fixture("dual.json")))
        let losses = cases.violations.map { $0 + 1 }
        var pairs = [(try trajectory(losses, "nuPI:budget=1:lr=1:\(settings)"), try #require(cases.nuPI[key]))]
        if let variant = cases.variant[key] {
            pairs.append((try trajectory(losses, "nuPI:budget=1:lr=1:\(settings):start=error"), variant))
        }
        for (found, expected) in pairs {
            let worst = zip(found, expected).map { abs($0 - $1) }.max() ?? 1
            #expect(worst <= 1e-14 && found.count == expected.count, "\(found) \(expected)")
            print("worst error of nuPI (\(key)): \(worst)")
        }
    }

    @Test func nuPIWithoutProportionalPartIsDualAscent() throws {
        let losses = [0.05, 0.3, 0.5, 0.2, 0, 0]
        #expect(try trajectory(losses, "nuPI:kp=0") == trajectory(losses, "CRaFTDual"))
        #expect(try trajectory([0.2, 0.2], "nuPI:kp=0:lr=0.5:violation=relative:max=0.75") == [0.5, 0.75])
        // At the budget nothing moves.
        #expect(try trajectory([0.1, 0.1, 0.1], "nuPI:init=0.25") == [0.25, 0.25, 0.25])
    }

    @Test(arguments: [
        "nuPI:kp=3:nu=0.7:start=zeros", "AugmentedLagrangian:restart=true", "AugmentedLagrangian:increment=0.5",
    ])
    func stateRoundTrip(plugin: String) throws {
        let losses = [0.4, 0.05, 0.3, 0.2, 0.01, 0.5, 0.5, 0.02]
        let expected = try trajectory(losses, plugin)
        let first = try compose("AnchorVariants,\(plugin)")
        let before = try run(first, Array(losses[..<4]), from: 0)
        let second = try compose("AnchorVariants,\(plugin)")
        try second.loadState(try first.saveState())
        let after = try run(second, Array(losses[4...]), from: 4, lambda: before.last)
        #expect(before + after == expected)
        try second.reset()
        #expect(try run(second, losses, from: 0) == expected)
    }

    @Test func augmentedLagrangian() throws {
        // Violations 1, 1, -1, with rho 1, 2, 4: 1, 3, then 3 - 4.
        #expect(try trajectory([2, 2, 0], "AugmentedLagrangian:budget=1:growth=2") == [1, 3, 0])
        // rho 1, 1.5, 2.
        #expect(try trajectory([2, 2, 2], "AugmentedLagrangian:budget=1:growth=1:increment=0.5") == [1, 2.5, 4.5])
        // Met once: rho starts anew.
        #expect(
            try trajectory([2, 0.5, 2], "AugmentedLagrangian:budget=1:growth=2:restart=true") == [1, 0, 1])
        #expect(
            try trajectory([2, 0.5, 2], "AugmentedLagrangian:budget=1:growth=2") == [1, 0, 2])
        #expect(try trajectory([2, 2], "AugmentedLagrangian:budget=1:growth=9:max_penalty=1.5") == [1, 2.5])
        // Within the tolerance rho does not grow.
        #expect(try trajectory([1.5, 2], "AugmentedLagrangian:budget=1:growth=2:tolerance=0.5") == [0.5, 1.5])
    }

    /// The step's own weight contains its own violation.
    @Test func augmentedLagrangianInTheStep() throws {
        let strategy = try Strategy("BaselineL1,AnchorVariants,AugmentedLagrangian:budget=1:penalty=2")
        func weights(_ loss: Double, _ incoming: [Double]) throws -> [Double] {
            try strategy.weights(
                [[1, 0, 0, 1]], incoming: [incoming], losses: ["retention": loss, "action": 1],
                lambda: ["retention": 0.5])[0]
        }
        #expect(try weights(1.25, [1, 0.5]) == [1, 1])
        #expect(try weights(0, [1, 0.5]) == [1, 0])
        // What another strategy put on top stays.
        #expect(try weights(0, [1, 0.75]) == [1, 0.25])
    }

    @Test func fixed() throws {
        #expect(try trajectory([0, 5, 1], "FixedMultiplier:value=0.3") == [0.3, 0.3, 0.3])
        let composition = try compose("AnchorVariants,FixedMultiplier:value=0.3")
        let values = ValueStore()
        values.set("hidden_states", Int64(25))
        try composition.run(.plan, values: values, step: 0)
        #expect(values.double("lambda.retention") == 0.3)
    }

    @Test(arguments: [
        ("shape=linear:from=1:to=3:begin=1:end=5", [1.0, 1.5, 2, 2.5, 3, 3]),
        ("shape=step:from=1:to=3:end=3", [1, 1, 3, 3, 3, 3]),
        ("shape=exponential:from=1:to=16:end=4", [2, 4, 8, 16, 16, 16]),
        ("shape=cosine:from=0:to=2:end=2", [1, 2, 2, 2, 2, 2]),
        ("shape=linear:from=1:to=3:end=0", [3, 3, 3, 3, 3, 3]),
    ])
    func schedule(settings: String, expected: [Double]) throws {
        let found = try trajectory([0, 0, 0, 0, 0, 0], "MultiplierSchedule:\(settings)")
        #expect(zip(found, expected).allSatisfy { abs($0 - $1) <= 1e-14 }, "\(found)")
    }

    @Test(arguments: [
        ("nuPI:init=2:max=1", "init=2.0 is above max=1.0"),
        ("nuPI:violation=relative:budget=0", "give a budget above 0"),
        ("nuPI:lr=inf", "must be finite"), ("AugmentedLagrangian:penalty=5:max_penalty=1", "above max_penalty=1.0"),
        ("MultiplierSchedule:begin=5:end=4", "begin=5 is after end=4"),
        ("MultiplierSchedule:shape=exponential", "needs from and to above 0"),
        ("FixedMultiplier:value=inf", "must be finite"),
        ("Constant:weights=1 x", "'x' is not a number"),
    ])
    func settingsThatDoNotGoTogether(plugin: String, words: String) throws {
        let problem = try #require(try problems("AnchorVariants,\(plugin)").first)
        #expect(problem.kind == .refused)
        #expect(problem.problem.contains(words), "\(problem)")
    }
}
