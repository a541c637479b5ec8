internal import Formats
import Foundation

/// Per-dimension statistics of one quantity over a whole data set.
package struct FeatureStatistics: Codable, Equatable, Sendable {
    package var mean: [Double]
    /// Population standard deviation.
    package var std: [Double]
    package var max: [Double]
    package var min: [Double]
    /// 1 % and 99 % quantiles, linearly interpolated as `numpy.quantile` does.
    package var q01: [Double]
    package var q99: [Double]
    /// Which dimensions are normalised; nil means all.
    package var mask: [Bool]?

    /// - Parameter rows: row-major matrices of `width` columns, at least one row in all unless there are no columns.
    init(rows: [[Float]], width: Int, mask: [Bool]?) {
        var (mean, std, max, min): ([Double], [Double], [Double], [Double]) = ([], [], [], [])
        var (q01, q99): ([Double], [Double]) = ([], [])
        for dimension in 0..<width {
            var column: [Float] = []
            for matrix in rows {
                column += stride(from: dimension, to: matrix.count, by: width).lazy.map { matrix[$0] }
            }
            // numpy's float32 sums down the rows, in stored order: what published statistics were made with.
            let count = Float(column.count)
            let average = column.reduce(0, +) / count
            let variance = column.reduce(0) { $0 + ($1 - average) * ($1 - average) } / count
            mean.append(Double(average))
            std.append(Double(variance.squareRoot()))
            column.sort()
            min.append(Double(column[0]))
            max.append(Double(column[column.count - 1]))
            q01.append(quantile(0.01, sorted: column))
            q99.append(quantile(0.99, sorted: column))
        }
        (self.mean, self.std, self.max, self.min, self.q01, self.q99) = (mean, std, max, min, q01, q99)
        self.mask = mask
    }

    /// y = clip(2 (x - low) / (high - low + 1e-8) - 1, -1, 1); constant dimensions give 0, masked ones pass unchanged.
    ///
    /// The order is VLA-Adapter's: a constant dimension is 0 even where the mask exempts it from scaling.
    func normalised(_ values: some Collection<Float>, to range: Embodiment.Range) -> [Float] {
        let (low, high) = ends(range)
        return zip(0..., values).map { index, value in
            let d = index % mean.count
            if min[d] == max[d] { return 0 }
            if let mask, !mask[d] { return value }
            let scaled = 2 * (Double(value) - low[d]) / (high[d] - low[d] + 1e-8) - 1
            return Float(Swift.min(Swift.max(scaled, -1), 1))
        }
    }

    /// x = (y + 1) / 2 (high - low + 1e-8) + low, not clipped; masked dimensions pass unchanged.
    func unnormalised(_ values: some Collection<Float>, from range: Embodiment.Range) -> [Float] {
        let (low, high) = ends(range)
        return zip(0..., values).map { index, value in
            let d = index % mean.count
            if let mask, !mask[d] { return value }
            return Float(0.5 * (Double(value) + 1) * (high[d] - low[d] + 1e-8) + low[d])
        }
    }

    private func ends(_ range: Embodiment.Range) -> (low: [Double], high: [Double]) {
        range == .quantiles ? (q01, q99) : (min, max)
    }

    /// The first reason why this cannot normalise as many dimensions as its mean has, or nil.
    var problem: String? {
        let width = mean.count
        for (key, values) in [
            ("mean", mean), ("std", std), ("max", max), ("min", min), ("q01", q01), ("q99", q99),
        ] {
            if values.count != width { return "\(key) has \(values.count) numbers, expected \(width)" }
            if !values.allSatisfy({ $0.isFinite }) { return "\(key) holds a number that is not finite" }
        }
        if let mask, mask.count != width { return "mask has \(mask.count) entries, expected \(width)" }
        return nil
    }
}

/// The `p` quantile of ascending `values` as numpy 1.26 computes it of float32 data: linear interpolation at (n - 1) p, the
/// difference of the neighbours in float32, the rest in float64, from the nearer neighbour.
package func quantile(_ p: Double, sorted values: [Float]) -> Double {
    let position = p * Double(values.count - 1)
    let below = Int(position)
    let above = min(below + 1, values.count - 1)
    let fraction = position - Double(below)
    let step = Double(values[above] - values[below])
    return fraction < 0.5
        ? Double(values[below]) + step * fraction : Double(values[above]) - step * (1 - fraction)
}

/// What a data set's actions and states are normalised by; must travel with every policy trained on it.
///
/// Computed after the LIBERO transform, equal to the reference pipeline's (numpy 1.26 on float32) digit by digit where the
/// result does not depend on the order of episodes; means and deviations are summed in stored order.
package struct DatasetStatistics: Codable, Equatable, Sendable {
    /// A LIBERO gripper is exempt from normalisation.
    package var action: FeatureStatistics
    /// Without dimensions where the data have no state.
    package var proprio: FeatureStatistics
    /// Steps.
    package var transitionCount: Int
    /// Episodes.
    package var trajectoryCount: Int

    private enum CodingKeys: String, CodingKey {
        case action, proprio
        case transitionCount = "num_transitions"
        case trajectoryCount = "num_trajectories"
    }

    /// Entries of a file that carries no counts have none; one without states has statistics of no dimension.
    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        action = try values.decode(FeatureStatistics.self, forKey: .action)
        proprio =
            try values.decodeIfPresent(FeatureStatistics.self, forKey: .proprio)
            ?? FeatureStatistics(rows: [], width: 0, mask: nil)
        transitionCount = try values.decodeIfPresent(Int.self, forKey: .transitionCount) ?? 0
        trajectoryCount = try values.decodeIfPresent(Int.self, forKey: .trajectoryCount) ?? 0
    }

    package init(episodes: [Episode]) throws(DataError) {
        guard let embodiment = episodes.first(where: { $0.length > 0 })?.embodiment else {
            throw DataError(.empty, "Statistics need at least one step.")
        }
        action = FeatureStatistics(
            rows: episodes.map(\.actions), width: embodiment.actionWidth, mask: embodiment.actionMask)
        proprio = FeatureStatistics(rows: episodes.map(\.proprio), width: embodiment.stateWidth, mask: nil)
        transitionCount = episodes.reduce(0) { $0 + $1.length }
        trajectoryCount = episodes.count
    }

    /// What the widths stand for.
    package var embodiment: Embodiment {
        Embodiment(actionWidth: action.mean.count, stateWidth: proprio.mean.count)
    }

    /// Normalises actions (any number of them, row major).
    package func normaliseAction(_ values: some Collection<Float>) -> [Float] {
        action.normalised(values, to: embodiment.range)
    }

    /// Normalises states.
    package func normaliseProprio(_ values: some Collection<Float>) -> [Float] {
        proprio.normalised(values, to: embodiment.range)
    }

    /// Turns a policy's outputs into actions. What the mask exempts passes unchanged.
    package func unnormaliseAction(_ values: some Collection<Float>) -> [Float] {
        action.unnormalised(values, from: embodiment.range)
    }

    /// Reads a `dataset_statistics.json`: data set name -> action, proprio, num_transitions, num_trajectories. Or a `config.json`
    /// that carries the same as `norm_stats`.
    ///
    /// - Parameter dataset: its key; with or without `_no_noops`, as the LIBERO evaluator looks it up. Other sets in the file may
    ///   be anything.
    package static func load(contentsOf path: String, dataset: String) throws -> DatasetStatistics {
        let all = try read(path)
        let suffix = "_no_noops"
        let bare = dataset.hasSuffix(suffix) ? String(dataset.dropLast(suffix.count)) : dataset
        guard let name = [dataset, bare + suffix, bare].first(where: { all[$0] != nil }), let found = all[name] else {
            throw DataError(
                .missing,
                "\(path): has no statistics of '\(dataset)'; it has: \(all.keys.sorted().joined(separator: ", ")).")
        }
        return try found.checked(name, in: path)
    }

    /// The one data set of such a file; nil when the file describes none or several.
    package static func only(contentsOf path: String) throws -> DatasetStatistics? {
        let all = try read(path)
        guard all.count == 1, let (dataset, found) = all.first else { return nil }
        return try found.checked(dataset, in: path)
    }

    /// The names of data sets in such a file, sorted; none when it cannot be read.
    package static func names(contentsOf path: String) -> [String] {
        ((try? read(path)) ?? [:]).filter { (try? $0.value.result.get()) != nil }.keys.sorted()
    }

    private struct Configuration: Decodable {
        var normStats: [String: Entry]?

        private enum CodingKeys: String, CodingKey { case normStats = "norm_stats" }
    }

    /// An entry, or why it cannot be used, which matters only to who asks for it.
    private struct Entry: Decodable {
        let result: Result<DatasetStatistics, any Error>

        init(from decoder: any Decoder) throws { result = Result { try DatasetStatistics(from: decoder) } }

        func checked(_ dataset: String, in path: String) throws -> DatasetStatistics {
            let found: DatasetStatistics
            do { found = try result.get() } catch {
                throw DataError(
                    .malformed,
                    "\(path): the statistics of '\(dataset)' cannot be used: \(jsonReason(error, in: [])).")
            }
            for (key, feature) in [("action", found.action), ("proprio", found.proprio)] {
                if let problem = feature.problem {
                    throw DataError(
                        .malformed, "\(path): '\(dataset)'.\(key): \(problem). Write the file again from the data set.")
                }
            }
            guard !found.action.mean.isEmpty else {
                throw DataError(
                    .malformed, "\(path): '\(dataset)'.action is empty. Write the file again from the data set.")
            }
            return found
        }
    }

    private static func read(_ path: String) throws -> [String: Entry] {
        if (path as NSString).lastPathComponent == "config.json" {
            return try reading { () throws(FileError) in
                try decodeJSON(Configuration.self, contentsOf: path, or: "has no norm_stats").normStats ?? [:]
            }
        }
        let all = try reading { () throws(FileError) in
            try decodeJSON([String: Entry].self, contentsOf: path, or: "is not a dataset_statistics.json")
        }
        // What the reference caches beside a data set has no name of it.
        if all["action"] != nil, all["num_transitions"] != nil {
            throw DataError(
                .malformed,
                "\(path): holds the statistics of one data set without its name. Put them below it: {\"NAME\": {\"action\": ...}}."
            )
        }
        return all
    }

    /// Writes the layout that ``load(contentsOf:dataset:)`` reads.
    package func save(to path: String, dataset: String) throws { try Self.save([dataset: self], to: path) }

    /// Writes several data sets' statistics, each under its name.
    package static func save(_ all: [String: DatasetStatistics], to path: String) throws {
        try AtomicFile.write(json(all), to: path)
    }

    /// The text that Python's `json.dump(statistics, indent=2)` writes in the reference, keys in its order.
    package static func json(_ all: [String: DatasetStatistics]) -> String {
        func list(_ items: [String], _ indent: String) -> String {
            "[\n" + items.map { "\(indent)  \($0)" }.joined(separator: ",\n") + "\n\(indent)]"
        }
        func object(_ items: [(String, String)], _ indent: String) -> String {
            "{\n" + items.map { "\(indent)  \(JSONText.quoted($0.0)): \($0.1)" }.joined(separator: ",\n")
                + "\n\(indent)}"
        }
        func feature(_ feature: FeatureStatistics) -> String {
            let numbers = [
                ("mean", feature.mean), ("std", feature.std), ("max", feature.max), ("min", feature.min),
                ("q01", feature.q01), ("q99", feature.q99),
            ]
            let mask = feature.mask.map { [("mask", list($0.map { $0 ? "true" : "false" }, "      "))] } ?? []
            return object(numbers.map { ($0.0, list($0.1.map { "\($0)" }, "      ")) } + mask, "    ")
        }
        return object(
            all.sorted { $0.key < $1.key }.map { name, statistics in
                (
                    name,
                    object(
                        [
                            ("action", feature(statistics.action)), ("proprio", feature(statistics.proprio)),
                            ("num_transitions", "\(statistics.transitionCount)"),
                            ("num_trajectories", "\(statistics.trajectoryCount)"),
                        ], "  ")
                )
            }, "")
    }

}
