import Data
import Formats
import Foundation
import TestSupport
import Testing

@Suite struct StatisticsTests {
    /// The published statistics of libero_spatial_no_noops, as far as the worked numbers need them.
    private func spatial() throws -> DatasetStatistics {
        let q01 = [
            -0.7454732114076613, -0.6616071462631226, -0.9375, -0.1071428582072258, -0.20678570866584778,
            -0.1842857152223587, 0,
        ]
        let q99 = [
            0.9375, 0.8758928775787354, 0.9321428537368774, 0.1039285734295845, 0.17678570747375488,
            0.14571428298950195, 1,
        ]
        func list(_ values: [Double]) -> String { "[" + values.map { "\($0)" }.joined(separator: ",") + "]" }
        let (zeros, ones) = (list([Double](repeating: 0, count: 8)), list([Double](repeating: 1, count: 8)))
        let json = """
            {"libero_spatial_no_noops": {"num_transitions": 52970, "num_trajectories": 432,
              "action": {"mean": \(list(q01)), "std": \(list(q99)), "min": \(list(q01)), "max": \(list(q99)),
                         "q01": \(list(q01)), "q99": \(list(q99)), "mask": [true,true,true,true,true,true,false]},
              "proprio": {"mean": \(zeros), "std": \(ones), "min": \(zeros), "max": \(ones), "q01": \(zeros), "q99": \(ones)}}}
            """
        let folder = try TemporaryFolder()
        try json.write(toFile: folder.path("dataset_statistics.json"), atomically: true, encoding: .utf8)
        return try .load(contentsOf: folder.path("dataset_statistics.json"), dataset: "libero_spatial")
    }

    @Test func workedNumbers() throws {
        let statistics = try spatial()
        let normalised = statistics.normaliseAction([0, 0, 0, 0, 0, 0, 1] + [1.2, -9, 0, 0, 0, 0, 0])
        #expect(abs(normalised[0] - -0.11409973501) < 1e-7)
        #expect(normalised[7] == 1)
        #expect(normalised[8] == -1)
        #expect(normalised[6] == 1 && normalised[13] == 0, "the gripper passes unchanged")
        let action = statistics.unnormaliseAction([0.25, 0, 0, 0, 0, 0, 0.7])
        #expect(abs(action[0] - 0.30638505) < 1e-7)
        #expect(action[6] == 0.7)
        #expect(statistics.unnormaliseAction([3, 0, 0, 0, 0, 0, 0])[0] > 2, "outputs are not clipped")
    }

    @Test func constantDimensionsBecomeZero() throws {
        var statistics = try spatial()
        statistics.proprio.min[2] = 0.5
        statistics.proprio.max[2] = 0.5
        let normalised = statistics.normaliseProprio([0, 0.25, 7, 0.5, 1, 1, 1, 1])
        #expect(normalised[2] == 0)
        #expect(abs(normalised[1] - -0.5) < 1e-6)
        #expect(normalised[0] == -1)
    }

    @Test func quantilesInterpolateLinearly() {
        // numpy.quantile([1, 2, 4, 8], [0, 0.01, 0.5, 0.9, 1]).
        let values: [Float] = [1, 2, 4, 8]
        let found = [0, 0.01, 0.5, 0.9, 1].map { quantile($0, sorted: values) }
        #expect(zip(found, [1, 1.03, 3, 6.8, 8]).allSatisfy { abs($0 - $1) < 1e-12 })
        #expect(quantile(0.99, sorted: [5]) == 5)
    }

    @Test func savedFilesLoadAgain() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("dataset_statistics.json")
        let statistics = try Sample.dataset.get().statistics()
        try statistics.save(to: path, dataset: Sample.name)
        #expect(try DatasetStatistics.load(contentsOf: path, dataset: Sample.name) == statistics)
        #expect(try DatasetStatistics.load(contentsOf: path, dataset: "libero_spatial") == statistics)
        let text = try String(contentsOfFile: path, encoding: .utf8)
        for key in ["num_transitions", "num_trajectories", "q01", "q99", "mask", "proprio"] {
            #expect(text.contains("\"\(key)\""))
        }
        let missing = dataError { _ = try DatasetStatistics.load(contentsOf: path, dataset: "libero_goal") }
        #expect(
            missing?.description.contains("no statistics of 'libero_goal'; it has: libero_spatial_no_noops") == true)
        try text.replacingOccurrences(of: "\"q01\"", with: "\"q02\"").write(
            toFile: path, atomically: true, encoding: .utf8)
        let incomplete = dataError { _ = try DatasetStatistics.load(contentsOf: path, dataset: Sample.name) }
        #expect(incomplete?.description.contains("has no \"q01\"") == true)
    }

    @Test func filesOfOtherKindsAreNamedAsTheyAre() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("dataset_statistics.json")
        // What the reference caches: one set, without its name.
        let flat = #"{"action": {"mean": [0]}, "proprio": {"mean": [0]}, "num_transitions": 5, "num_trajectories": 1}"#
        try flat.write(toFile: path, atomically: true, encoding: .utf8)
        let error = dataError { _ = try DatasetStatistics.only(contentsOf: path) }
        #expect(error?.description.contains("without its name") == true, "\(error?.description ?? "")")
        // No statistics at all.
        try #"{"train": {"images": 10}, "test": 2}"#.write(toFile: path, atomically: true, encoding: .utf8)
        #expect(DatasetStatistics.names(contentsOf: path).isEmpty)
    }

    @Test func wrongWidthsAreRefused() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("dataset_statistics.json")
        var statistics = try spatial()
        statistics.action.q99.removeLast()
        try statistics.save(to: path, dataset: "d")
        let error = dataError { _ = try DatasetStatistics.load(contentsOf: path, dataset: "d") }
        #expect(error?.description.contains("'d'.action: q99 has 6 numbers, expected 7") == true)
    }
}
