internal import Formats
import Foundation

/// One data set of a mixture.
package struct MixturePart: Sendable {
    package var dataset: any DemonstrationStore
    /// What its actions and states are normalised by.
    package var statistics: DatasetStatistics
    /// Its share of the samples relative to the others'; nil counts data sets by their number of samples.
    package var weight: Double?

    package init(dataset: any DemonstrationStore, statistics: DatasetStatistics, weight: Double? = nil) {
        (self.dataset, self.statistics, self.weight) = (dataset, statistics, weight)
    }

    /// The probability of each part; they sum to 1 up to rounding.
    static func shares(_ parts: [MixturePart], samples: [Int]) throws(DataError) -> [Double] {
        let weights = parts.compactMap(\.weight)
        guard weights.isEmpty || weights.count == parts.count else {
            throw DataError(
                .invalid,
                "Mixture: some data sets have a weight and others have none; give all of them one, or none.")
        }
        var amounts = weights.isEmpty ? samples.map(Double.init) : weights
        guard amounts.allSatisfy({ $0.isFinite && $0 >= 0 }), let largest = amounts.max(), largest > 0 else {
            throw DataError(
                .invalid,
                "Mixture: the weights are \(weights.map { "\($0)" }.joined(separator: ", ")); expected numbers of at least "
                    + "0, not all 0.")
        }
        // Weights near the largest number have no finite sum; relative to the largest of them they have.
        if !amounts.reduce(0, +).isFinite { amounts = amounts.map { $0 / largest } }
        let total = amounts.reduce(0, +)
        return amounts.map { $0 / total }
    }
}

/// The data sets of a run as the command line names them: `A`, `A,B` or `A:0.7,B:0.3`.
package struct MixtureRequest: Equatable, Sendable {
    package struct Entry: Equatable, Sendable {
        package var name: String
        package var weight: Double?

        package init(name: String, weight: Double? = nil) { (self.name, self.weight) = (name, weight) }
    }

    /// Empty asks for the only data set there is.
    package let entries: [Entry]

    package init(_ text: String) throws(DataError) {
        var entries: [Entry] = []
        for item in text.isEmpty ? [] : text.split(separator: ",", omittingEmptySubsequences: false) {
            let parts = item.split(separator: ":", omittingEmptySubsequences: false).map {
                $0.trimmingCharacters(in: .whitespaces)
            }
            guard let name = parts.first, !name.isEmpty, parts.count <= 2 else {
                throw DataError(
                    .invalid,
                    "--dataset is '\(text)'; expected a name, or several as NAME:WEIGHT,NAME:WEIGHT; '\(item)' is neither."
                )
            }
            var weight: Double?
            if parts.count == 2 {
                guard let number = Double(parts[1]), number.isFinite, number >= 0 else {
                    throw DataError(
                        .invalid,
                        "--dataset is '\(text)'; the weight of '\(name)' is '\(parts[1])', expected a number of at least 0."
                    )
                }
                weight = number
            }
            guard !entries.contains(where: { $0.name == name }) else {
                throw DataError(.invalid, "--dataset is '\(text)'; it names '\(name)' twice.")
            }
            entries.append(Entry(name: name, weight: weight))
        }
        guard Set(entries.map { $0.weight == nil }).count <= 1 else {
            throw DataError(.invalid, "--dataset is '\(text)'; give every data set a weight, or none of them.")
        }
        if !entries.isEmpty, entries.allSatisfy({ $0.weight == 0 }) {
            throw DataError(.invalid, "--dataset is '\(text)'; at least one weight must be above 0.")
        }
        self.entries = entries
    }
}
