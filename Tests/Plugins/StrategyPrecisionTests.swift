import Foundation
import TestSupport
import Testing

/// What the strategies give next to what 50 digits do, on the same Gram matrices: nearly opposed and nearly equal gradients,
/// lengths from 1e-6 to 1e6, 1 to 8 objectives, and some that depend on each other (scripts/reference/strategy_precision.py).
@Suite struct StrategyPrecisionTests {
    private struct Case: Decodable {
        let name: String
        let rank: Int
        let gram: [Double]
        let weights: [String: [Double]]
        var size: Int { Int(Double(gram.count).squareRoot()) }
        var lengths: [Double] { (0..<size).map { gram[$0 * (size + 1)].squareRoot() } }
    }

    private struct File: Decodable { let cases: [Case] }

    private func cases() throws -> [Case] {
        try JSONDecoder().decode(
            File.self, from: Data(contentsOf: BuildFolder.fixture("strategy-precision.json"))
        ).cases
    }

    /// Strategies of which only the step is one of a kind where gradients depend on each other.
    private static let notUnique: Set = ["UPGrad", "DualProj", "MGDA"]

    @Test(arguments: [
        "UPGrad", "DualProj", "MGDA", "CAGrad:c=0.5", "CAGrad:c=2", "IMTLG", "ConFIG", "AlignedMTL",
        "NashMTL:max_norm=0", "FairGrad:alpha=0.1", "FairGrad:alpha=0.5", "FairGrad:alpha=0.99", "FairGrad:alpha=1.01",
        "FairGrad:alpha=2", "FairGrad:alpha=10", "FairGrad:alpha=100",
    ])
    func precision(plugin: String) throws {
        var worst = (error: 0.0, name: "")
        var count = 0
        for item in try cases() {
            guard let exact = item.weights[plugin] else { continue }
            let found = try Strategy(plugin).weights(item.gram)
            let reach = zip(exact, item.lengths).reduce(0) { max($0, abs($1.0) * $1.1) }
            var error = 0.0
            if item.rank < item.size, Self.notUnique.contains(plugin) {
                let difference = times(item.gram, zip(found, exact).map { $0 - $1 })
                for (part, length) in zip(difference, item.lengths) { error = max(error, abs(part) / length / reach) }
            } else {
                for row in exact.indices {
                    // Each weight for itself, unless its gradient is a millionth of the step.
                    let size = max(abs(exact[row]), 1e-6 * reach / item.lengths[row])
                    error = max(error, abs(found[row] - exact[row]) / size)
                }
            }
            #expect(error <= 1e-11, "\(item.name): \(found) instead of \(exact)")
            if error > worst.error { worst = (error, item.name) }
            count += 1
        }
        #expect(count >= 50)
        print("worst error of \(plugin) in \(count) cases: \(worst.error) (\(worst.name))")
    }

    /// Opposed as far as 53 bits tell: no direction serves both, and the weights stay as they came.
    @Test(arguments: ["FairGrad:alpha=0.1", "FairGrad:alpha=100", "NashMTL:max_norm=0", "IMTLG", "ConFIG"])
    func opposedGradientsKeepTheirWeights(plugin: String) throws {
        #expect(try Strategy(plugin).weights([1, -1, -1, 1], [0.5, 0.5]) == [0.5, 0.5])
    }

    /// Directions whose distance is about what a cosine loses: whichever way it is taken, there is a step, and it conflicts
    /// with nothing by more than that distance.
    @Test(arguments: ["UPGrad", "DualProj", "MGDA", "CAGrad:c=1", "IMTLG", "ConFIG", "NashMTL", "FairGrad:alpha=0.1"])
    func distancesThatCosinesLose(plugin: String) throws {
        var numbers = TestNumbers(seed: 17)
        for trial in 0..<200 {
            let size = 2 + trial % 4
            var rows = (0..<size).map { _ in numbers.array(6) }
            let distance = pow(10, -7 - 2 * abs(numbers.next()))
            let scale = trial.isMultiple(of: 2) ? -3.0 : 3
            rows[1] = zip(rows[0], rows[1]).map { scale * $0 + distance * $1 }
            let weights = try Strategy(plugin).weights(of: rows)
            let step = combine(weights, rows)
            let isFinite = weights.allSatisfy { $0.isFinite }
            #expect(isFinite)
            guard ["UPGrad", "DualProj", "MGDA", "CAGrad:c=1"].contains(plugin) else { continue }
            let reach = rows.map(norm).max() ?? 1
            for row in rows { #expect(dot(row, step) >= -1e-6 * norm(row) * max(reach, norm(step)), "\(rows)") }
        }
    }

    /// 1 - cos is 2^-40: the weights are those of these numbers, not of the rounded cosine.
    @Test func nearlyOpposedGradients() throws {
        let cosine = 1 - 0x1p-40
        let gram = [1, -3 * cosine, -3 * cosine, 9]
        #expect(relativeError(try Strategy("IMTLG").weights(gram), [0.75, 0.25]) <= 1e-15)
        // Equal gains b^2 (1 - cos) = 1.
        let bargain = [0x1p20, 0x1p20 / 3]
        #expect(relativeError(try Strategy("NashMTL:max_norm=0").weights(gram), bargain) <= 1e-14)
    }

    /// A positive sum of weights that cancels to the last digit of a double has its digits here.
    @Test func weightsThatCancel() throws {
        // C^-1 1 of cosines (0.8, 0.8, 0.3): the first weight is negative.
        let (a, b, c) = (0.8, 0.8, 0.3)
        let lengths = [1.0, 1, 1]
        let gram = [1, a, b, a, 1, c, b, c, 1]
        let found = try Strategy("IMTLG").weights(gram)
        #expect(abs(found.reduce(0, +) - 1) <= 1e-14)
        let projections = zip(times(gram, found), lengths).map { $0 / $1 }
        for projection in projections { #expect(abs(projection / projections[0] - 1) <= 1e-12) }
    }
}
