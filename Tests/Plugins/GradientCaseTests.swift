import Foundation
import PluginRuntime
import TestSupport
import Testing

/// Pinned results: what independent solvers and TorchJD 0.18.0 give on the same gradients.
@Suite struct GradientCaseTests {
    struct Method: Decodable {
        let gradient: [Double]?
        let reference: [Double]?
        let referenceWeights: [Double]?
        let weights: [Double]?
        let rowWeights: [String: [String: [Double]]]?
        let ascending: [Double]?
        let expected: [Double]?
        let leastProduct: Double?

        enum CodingKeys: String, CodingKey {
            case gradient, weights
            case reference = "ref_gradient"
            case referenceWeights = "ref_weights_from_gram"
            case rowWeights = "row_weights_by_order"
            case ascending = "weights_ascending_order"
            case expected = "weights_expected_over_orders"
            case leastProduct = "nonconflicting_min_dot"
        }
    }

    struct Case: Decodable {
        let id: String
        let m: Int
        let rank: Int
        let rows: [[Double]]
        let methods: [String: Method]

        enum CodingKeys: String, CodingKey {
            case id, m, rank, methods
            case rows = "J"
        }

        var gram: [Double] { gramMatrix(rows) }
        var scale: Double { rows.map(norm).max() ?? 1 }
    }

    private struct File: Decodable { let cases: [Case] }

    static let cases: [Case] = {
        do {
            return try JSONDecoder().decode(
                File.self, from: Data(contentsOf: BuildFolder.fixture("gradients.json"))
            ).cases
        } catch {
            Issue.record("gradients.json: \(error)")
            return []
        }
    }()

    /// Which plugin answers for a method, and with what incoming weights: the file's preferences are 1/m each.
    struct Mapping: CustomTestStringConvertible {
        let method: String
        let plugin: String
        var isMean = false
        var tolerance = 1e-9
        /// Cases in which TorchJD's solver failed and gave its starting point.
        var failed: Set<String> = []
        var testDescription: String { method }
    }

    static let mappings = [
        Mapping(method: "Sum", plugin: "Sum"),
        Mapping(method: "Mean", plugin: "Mean"),
        Mapping(method: "MGDA_tight", plugin: "MGDA"),
        Mapping(method: "UPGrad_exact", plugin: "UPGrad:preference=weights", isMean: true),
        Mapping(method: "UPGrad_exact", plugin: "UPGrad"),
        Mapping(method: "DualProj_exact", plugin: "DualProj:preference=weights", isMean: true),
        Mapping(method: "DualProj_exact", plugin: "DualProj"),
        Mapping(method: "AlignedMTL_min", plugin: "AlignedMTL"),
        Mapping(method: "IMTLG", plugin: "IMTLG"),
        Mapping(method: "ConFIG", plugin: "ConFIG"),
        Mapping(method: "AGEM_task0_ref1", plugin: "AnchorVariants,AGEM"),
        Mapping(method: "AsymPCGrad_project0", plugin: "BaselineL1,AnchorVariants,CRaFTProjection:scope=global"),
        Mapping(method: "CAGrad_c0.5", plugin: "CAGrad:c=0.5", tolerance: 1e-3, failed: ["e06_second_zero"]),
        Mapping(method: "CAGrad_c1.0", plugin: "CAGrad:c=1", tolerance: 1e-3),
        Mapping(method: "NashMTL_first_call", plugin: "NashMTL", tolerance: 1e-3, failed: ["e02_hand_2d_conflict"]),
        Mapping(
            method: "NashMTL_unclipped_first_call", plugin: "NashMTL:max_norm=0", tolerance: 1e-3,
            failed: ["e02_hand_2d_conflict"]),
        Mapping(
            method: "NashMTL_unclipped_first_call", plugin: "FairGrad:alpha=1", tolerance: 1e-3,
            failed: ["e02_hand_2d_conflict"]),
    ]

    @Test(arguments: mappings)
    func pinned(mapping: Mapping) throws {
        let strategy = try Strategy(mapping.plugin)
        var worst = 0.0
        var count = 0
        for item in Self.cases where !mapping.failed.contains(item.id) {
            guard let method = item.methods[mapping.method], let gradient = method.reference ?? method.gradient else {
                continue
            }
            try strategy.composition.reset()
            let incoming = [Double](repeating: mapping.isMean ? 1 / Double(item.m) : 1, count: item.m)
            let weights = try strategy.weights(item.gram, incoming)
            let error = relativeError(combine(weights, item.rows), gradient, scale: item.scale)
            // The reference itself holds r12 to 1e-7 only.
            let tolerance = max(mapping.tolerance, item.id.hasPrefix("r12") ? 1e-7 : 0)
            #expect(error <= tolerance, "\(item.id): \(combine(weights, item.rows)) instead of \(gradient)")
            if let expected = method.referenceWeights, item.rank == item.m, mapping.tolerance < 1e-6 {
                #expect(relativeError(weights, expected) <= tolerance, "\(item.id): \(weights), \(expected)")
            }
            worst = max(worst, error)
            count += 1
        }
        #expect(count >= 5, "no cases for \(mapping.method)")
        print("worst relative error of \(mapping.plugin) in \(count) cases of \(mapping.method): \(worst)")
    }

    // MARK: - Strategies whose result depends on an order

    @Test func pcgradInEveryOrder() throws {
        let ascending = try Strategy("PCGrad:order=ascending")
        let average = try Strategy("PCGrad:order=average")
        let random = try Strategy("PCGrad:seed=5")
        var worst = 0.0
        for item in Self.cases {
            let method = try #require(item.methods["PCGrad"])
            let first = relativeError(try ascending.weights(item.gram), try #require(method.ascending))
            let second = relativeError(try average.weights(item.gram), try #require(method.expected))
            #expect(first <= 1e-12 && second <= 1e-12, "\(item.id)")
            worst = max(worst, first, second)
            for step in 0..<8 {
                let weights = try random.weights(item.gram, step: step)
                #expect(sums(of: method).contains { relativeError(weights, $0) <= 1e-12 }, "\(item.id) \(weights)")
            }
        }
        print("worst relative error of PCGrad: \(worst)")
    }

    /// Random orders do occur, follow the seed and the step, and the same ones come back.
    @Test func pcgradDrawsOrders() throws {
        let item = try #require(Self.cases.first { $0.id.hasPrefix("r12") })
        func draws(_ plugin: String) throws -> [[Double]] {
            let strategy = try Strategy(plugin)
            return try (0..<32).map { try strategy.weights(item.gram, step: $0) }
        }
        let first = try draws("PCGrad")
        #expect(Set(first).count > 1)
        #expect(try draws("PCGrad") == first)
        #expect(try draws("PCGrad:seed=1") != first)
    }

    /// The sums over rows of one entry each.
    private func sums(of method: Method) -> [[Double]] {
        (method.rowWeights ?? [:]).values.reduce([[]]) { partial, row in
            partial.flatMap { sum in
                row.values.map { entry in sum.isEmpty ? entry : zip(sum, entry).map { $0 + $1 } }
            }
        }
    }

    /// With targets of 0 the first step is PCGrad's; TorchJD's epsilon of 1e-8 limits how well it can agree.
    @Test func gradVacFirstCall() throws {
        var worst = 0.0
        for item in Self.cases {
            let pinned = try #require(item.methods["GradVac_first_call"]?.gradient)
            let method = try #require(item.methods["PCGrad"])
            let weights = try Strategy("GradVac").weights(item.gram)
            #expect(sums(of: method).contains { relativeError(weights, $0) <= 1e-12 }, "\(item.id) \(weights)")
            // The orders TorchJD drew are not known: the nearest of all.
            let error =
                sums(of: method).map { relativeError(combine($0, item.rows), pinned, scale: item.scale) }.min() ?? 1
            #expect(error <= 1e-6, "\(item.id)")
            worst = max(worst, error)
        }
        print("worst relative error of GradVac: \(worst)")
    }

    // MARK: - Values to check by hand: J = [[1, 0], [-1, 1]]

    static let handChecked: [(String, [Double])] = [
        ("Sum", [1.0, 1]), ("Mean", [0.5, 0.5]), ("PCGrad", [2, 1.5]), ("UPGrad", [1, 0.75]),
        ("UPGrad:preference=weights", [2, 1.5]), ("DualProj", [0.5, 0.5]), ("MGDA", [0.6, 0.4]),
        ("CAGrad:c=0.5", [0.75, 0.5]), ("CAGrad:c=1", [1.2, 0.8]),
        ("AlignedMTL", [0.552786404500042, 0.414589803375031]),
        ("IMTLG", [2 - 2.0.squareRoot(), 2.0.squareRoot() - 1]),
        ("AnchorVariants,AGEM", [1, 0.5]), ("Constant:weights=2 -3", [2, -3]), ("Constant:weights=0.5", [0.5, 0.5]),
    ]

    @Test(arguments: handChecked)
    func byHand(plugin: String, expected: [Double]) throws {
        #expect(relativeError(try Strategy(plugin).weights([1, -1, -1, 2]), expected) <= 1e-14)
    }
}
