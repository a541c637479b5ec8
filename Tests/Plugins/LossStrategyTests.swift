import Foundation
import PluginRuntime
import TestSupport
import Testing

/// Strategies that look at loss values, step by step against their formulas.
@Suite struct LossStrategyTests {
    private static let list = "BaselineL1,AnchorVariants,"

    /// The factors of (action, retention) in each step.
    private func factors(
        _ plugin: String, _ losses: [(Double, Double)], gram: [Double] = [1, 0, 0, 1], incoming: [Double] = [1, 1]
    ) throws -> [[Double]] {
        let strategy = try Strategy(Self.list + plugin)
        return try losses.map { action, retention in
            try strategy.weights([gram], incoming: [incoming], losses: ["action": action, "retention": retention])[0]
        }
    }

    private func expectClose(
        _ left: [[Double]], _ right: [[Double]], sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(left.count == right.count, sourceLocation: sourceLocation)
        for (x, y) in zip(left, right) {
            #expect(relativeError(x, y) <= 1e-13, "\(left) \(right)", sourceLocation: sourceLocation)
        }
    }

    @Test func dwa() throws {
        // Two epochs of two steps: means (1.5, 4), then (0.75, 4).
        let losses = [(1.0, 3.0), (2, 5), (0.5, 4), (1, 4), (9, 9)]
        let (a, b) = (exp(0.5 / 2), exp(1.0 / 2))
        let last = [2 * a / (a + b), 2 * b / (a + b)]
        expectClose(
            try factors("DWA:interval=2", losses), [[1, 1], [1, 1], [1, 1], [1, 1], last])
        expectClose(
            try factors("DWA:interval=2", losses, incoming: [3, 0.5]).suffix(1), [[3 * last[0], 0.5 * last[1]]])
        // A loss that was zero has no rate and counts as unchanged.
        let zero = try factors("DWA:interval=1", [(1, 0), (1, 0), (1, 1)])
        expectClose(zero, [[1, 1], [1, 1], [1, 1]])
    }

    @Test func uncertaintyWeighting() throws {
        let result = try factors("UW:lr=0.1", [(2, 0.5), (2, 0.5)])
        let logs = [0.1 * 0.5 * (2 - 1), 0.1 * 0.5 * (0.5 - 1)]
        expectClose(result, [[0.5, 0.5], logs.map { 0.5 * exp(-$0) }])
        // It settles where exp(s) is the loss.
        let settled = try factors("UW:lr=0.5", [(Double, Double)](repeating: (2, 0.5), count: 400))
        #expect(relativeError(try #require(settled.last), [0.25, 1]) <= 1e-9)
        let failure = try #require(throws: PluginFailure.self) { try factors("UW:lr=1e6", [(1e308, 1)]) }
        #expect(failure.message.contains("use a smaller lr"))
    }

    @Test func famo() throws {
        let result = try factors("FAMO:lr=0.5:decay=0.1", [(2, 0.5), (1, 0.5), (1, 0)])
        func shares(_ x: [Double]) -> [Double] {
            let sum = x.reduce(0) { $0 + exp($1) }
            return x.map { exp($0) / sum }
        }
        func balance(_ z: [Double], _ losses: [Double]) -> [Double] {
            let pulls = zip(z, losses).map { $0 / $1 }
            return pulls.map { $0 / pulls.reduce(0, +) }
        }
        let first = balance([0.5, 0.5], [2, 0.5])
        let change = [log(2.0), 0.0]
        let mean = 0.5 * change[0]
        let logits = change.map { -0.5 * 0.5 * ($0 - mean) }
        // The loss that reached its bound keeps its weight, and the other has the step for itself.
        expectClose(result, [first, balance(shares(logits), [1, 0.5]), [1, 1]])
        expectClose(try factors("FAMO", [(0, 0)]), [[1, 1]])
    }

    @Test func gradNorm() throws {
        // Lengths 3 and 1; losses (1, 1), then (0.5, 1).
        let gram = [9.0, 0, 0, 1]
        let result = try factors("GradNorm:lr=0.01:alpha=1.5", [(1, 1), (0.5, 1), (0.5, 1)], gram: gram)
        // Step 0: mean length 2, targets 2 and 2: the long one falls by 0.01 * 3 / 2, the short one rises by 0.01 / 2.
        let one = [1 - 0.015, 1 + 0.005]
        let scaled = one.map { $0 * 2 / (one[0] + one[1]) }
        // Step 1: ratios 0.5 and 1, rates 2/3 and 4/3.
        let lengths = [3 * scaled[0], scaled[1]]
        let mean = (lengths[0] + lengths[1]) / 2
        let targets = [mean * pow(2.0 / 3, 1.5), mean * pow(4.0 / 3, 1.5)]
        #expect(lengths[0] > targets[0] && lengths[1] < targets[1])
        let two = [scaled[0] - 0.01 * 3 / mean, scaled[1] + 0.01 / mean]
        expectClose(result, [[1, 1], scaled, two.map { $0 * 2 / (two[0] + two[1]) }])
        // The scale of the gradients does not matter.
        let small = try factors(
            "GradNorm:lr=0.01:alpha=1.5", [(1, 1), (0.5, 1), (0.5, 1)], gram: gram.map { $0 * 1e-24 })
        expectClose(small, result)
        // A first loss of zero is waited out.
        expectClose(try factors("GradNorm", [(1, 0), (1, 0)], gram: gram), [[1, 1], [1, 1]])
    }

    @Test func clipping() throws {
        let strategy = try Strategy("ClipGradNorm:max_norm=2.5")
        // Blocks of squared lengths 9 and 16: 5 together.
        let grams = [[9.0, 0, 0, 0], [16.0, 0, 0, 1]]
        #expect(try strategy.weights(grams, incoming: [[1, 0], [1, 0]]) == [[0.5, 0], [0.5, 0]])
        #expect(try strategy.weights(grams, incoming: [[0.1, 0], [0.1, 1]]) == [[0.1, 0], [0.1, 1]])
        let each = try Strategy("ClipGradNorm:max_norm=2.5:per=objective")
        #expect(try each.weights(grams, incoming: [[1, 1], [1, 1]]) == [[0.5, 1], [0.5, 1]])
        #expect(
            try Strategy("ClipGradNorm:max_norm=0").weights(grams, incoming: [[1, 1], [1, 1]]) == [[0, 0], [0, 0]])
    }

    private static let onLosses = ["DWA:interval=2", "UW", "FAMO", "GradNorm", "STCH", "GeometricMean", "IMTLL"]

    /// An objective that has a loss in some steps only is treated as if the others' steps did not concern it: what is
    /// remembered is kept under its number, whatever its row.
    @Test(arguments: onLosses)
    func objectivesThatComeAndGo(plugin: String) throws {
        let names = ["a", "b", "c", "d", "e"]
        let losses = ["a": 0.5, "b": 2, "c": 0.25, "d": 3, "e": 1]
        func run(_ strategy: Strategy, _ rows: [Int], _ scale: Double) throws -> [Double] {
            var gram = [Double](repeating: 0, count: rows.count * rows.count)
            for (row, number) in rows.enumerated() { gram[row * (rows.count + 1)] = Double(number + 1) }
            let incoming = [Double](repeating: 1, count: rows.count)
            return try strategy.weights(
                [gram], incoming: [incoming], losses: losses.mapValues { $0 * scale }, objectives: names, rows: rows)[0]
        }
        let (one, other) = (try Strategy(plugin), try Strategy(plugin))
        for step in 0..<7 {
            // The same two objectives, once in other rows.
            let scale = 1 / Double(step + 1)
            let first = try run(one, [1, 3], scale)
            let second = try run(other, step.isMultiple(of: 2) ? [1, 3] : [3, 1], scale)
            #expect(relativeError(step.isMultiple(of: 2) ? second : second.reversed(), first) <= 1e-14)
        }
        // The next objectives begin as the first ones did.
        let begun = try run(one, [0, 4], 1)
        let fresh = try run(try Strategy(plugin), [0, 4], 1)
        if plugin.hasPrefix("DWA") || plugin == "FAMO" {
            #expect(begun.allSatisfy { $0.isFinite })
        } else {
            #expect(relativeError(begun, fresh) <= 1e-14)
        }
        let all = try run(one, [0, 1, 2, 3, 4], 1)
        #expect(all.count == 5 && all.allSatisfy { $0.isFinite && $0 > 0 })
    }

    /// As many objectives as the host has, not only those of a name.
    @Test(arguments: onLosses)
    func eightObjectives(plugin: String) throws {
        let names = (0..<8).map { "o\($0)" }
        var losses: [String: Double] = [:]
        for (row, name) in names.enumerated() { losses[name] = Double(row + 1) }
        var gram = [Double](repeating: 0, count: 64)
        for row in 0..<8 { gram[row * 9] = Double(row + 1) }
        let strategy = try Strategy(plugin)
        var weights: [Double] = []
        for step in 1...6 {
            weights = try strategy.weights(
                [gram], incoming: [[Double](repeating: 1, count: 8)],
                losses: losses.mapValues { pow($0, -Double(step)) }, objectives: names, rows: Array(0..<8))[0]
        }
        #expect(Set(weights).count == 8, "\(weights)")
    }

    @Test func lossesMustBeFinite() throws {
        for plugin in Self.onLosses {
            let failure = try #require(throws: PluginFailure.self) { try factors(plugin, [(.nan, 1)]) }
            #expect(failure.message.contains("losses[0], a loss of objective 0, is nan"), "\(failure)")
        }
    }

    /// A hook may be handed its own last result: weights that nobody set anew.
    @Test func ownResultAsInput() throws {
        let composition = try compose("PCGrad")
        let values = ValueStore()
        let gram = TestArray<Double>([1, -1, -1, 2], shape: [1, 2, 2])
        let weights = TestArray<Double>([1, 1], shape: [1, 2])
        values.set("gram", gram.view)
        values.set("weights", weights.view)
        for expected in [[2, 1.5], [3.5, 2.5], [6, 4.25]] {
            try composition.run(.gradientCombine, values: values, step: 0)
            let found = Array(try #require(values.array("weights")).doubles)
            #expect(relativeError(found, expected) <= 1e-14)
        }
    }

    // MARK: - State

    private static let stateful = [
        "DWA:interval=3", "UW", "FAMO", "GradNorm", "GradVac", "GradVac:order=ascending:beta=0.1", "PCGrad",
        "NashMTL:update_weights_every=4", "IMTLL", "RLW",
    ]

    /// k steps, saved, loaded into another instance, and k more: the bits of 2k steps.
    @Test(arguments: stateful)
    func stateRoundTrip(plugin: String) throws {
        var numbers = TestNumbers(seed: 6)
        let steps = (0..<12).map { _ in ((0..<2).map { _ in numbers.array(3) }, numbers.array(2).map { abs($0) + 0.1 })
        }
        func run(_ strategy: Strategy, _ range: Range<Int>) throws -> [[Double]] {
            try range.map { step in
                let (rows, losses) = steps[step]
                return try strategy.weights(
                    [gramMatrix(rows)], incoming: [[1, 1]], step: step,
                    losses: ["action": losses[0], "retention": losses[1]])[0]
            }
        }
        let straight = try Strategy(Self.list + plugin)
        let expected = try run(straight, 0..<12)
        let first = try Strategy(Self.list + plugin)
        let before = try run(first, 0..<5)
        let saved = try first.composition.saveState()
        #expect(try first.composition.saveState() == saved)
        let second = try Strategy(Self.list + plugin)
        try second.composition.loadState(saved)
        #expect(try second.composition.saveState() == saved)
        let after = try run(second, 5..<12)
        #expect(before + after == expected)
        #expect(try second.composition.saveState() == straight.composition.saveState())
        try second.composition.reset()
        let again = try run(second, 0..<12)
        #expect(again == expected)
    }

    @Test(arguments: [
        "GradVac", "NashMTL:update_weights_every=4", "DWA", "UW", "FAMO", "GradNorm", "IMTLL",
    ])
    func stateOfAnotherRun(plugin: String) throws {
        let saved = try Strategy(plugin)
        _ = try saved.weights([1, 0, 0, 1])
        let other = try Strategy(plugin)
        try other.composition.loadState(try saved.composition.saveState())
        let failure = try #require(throws: PluginFailure.self) { try other.weights([1, 0, 0, 0, 1, 0, 0, 0, 1]) }
        #expect(failure.message.contains("saved with other objectives"))
    }
}
