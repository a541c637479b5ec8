internal import Collectives
internal import Foundation

extension RunDirectory {
    /// A run's folder that the first rank makes; the others attend it.
    ///
    /// - Parameter make: called at rank 0.
    static func shared(by ranks: any Collective, _ make: () throws -> RunDirectory) throws -> RunDirectory {
        if ranks.isAlone { return try make() }
        let made = ranks.rank == 0 ? try make() : nil
        let path = try ranks.fromFirst(made?.path ?? "", phase: "making the run folder")
        return try made ?? RunDirectory(attending: path)
    }

    /// What a rank other than the first prints.
    package func logPath(ofRank rank: Int) -> String {
        let digits = String(rank)
        return "\(path)/rank-\(String(repeating: "0", count: max(0, 3 - digits.count)))\(digits).log"
    }
}
