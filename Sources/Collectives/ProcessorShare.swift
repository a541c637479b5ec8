internal import Glibc

/// The processors that a rank has to compute with.
package struct ProcessorShare: Equatable, Sendable {
    /// Threads that leave every rank of the machine its own processors.
    package let threads: Int
    /// What the user should know.
    package let note: String?

    /// A rank's place: its machine, and a bit for each processor it may run on.
    package struct Place {
        let host: String
        let mask: [UInt8]

        package init(host: String, mask: [UInt8]) { (self.host, self.mask) = (host, mask) }

        var count: Int { mask.reduce(0) { $0 + $1.nonzeroBitCount } }

        func shares(_ other: Place) -> Bool { host == other.host && zip(mask, other.mask).contains { $0 & $1 != 0 } }
    }

    /// - Parameter processors: of this rank's machine, whoever may use them.
    package init(of rank: Int, in places: [Place], processors: Int) {
        let own = places[rank]
        let sharing = places.filter { $0.shares(own) }.count
        let local = places.filter { $0.host == own.host }
        threads = max(1, own.count / max(1, sharing))
        // Open MPI binds each of one or two ranks to a core unless told otherwise.
        let unused =
            processors
            - local.reduce(into: [UInt8](repeating: 0, count: 1024)) { all, place in
                for (index, byte) in place.mask.enumerated() { all[index] |= byte }
            }.reduce(0) { $0 + $1.nonzeroBitCount }
        note =
            own.count == 1 && unused > 0
            ? "each rank on \(own.host) may use 1 of its \(processors) processors, and \(unused) are left unused: the launcher "
                + "binds ranks to cores. mpirun --bind-to none, or --map-by ppr:\(local.count):node:pe="
                + "\(processors / local.count), gives them all; srun does with --cpus-per-task=\(processors / local.count)"
            : nil
    }

    /// Asks all ranks.
    package init(of ranks: any Collective) throws(CollectiveError) {
        var name = [CChar](repeating: 0, count: 256)
        gethostname(&name, name.count - 1)
        var message = MessageWriter()
        message.add(String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
        message.add(ProcessorMask.bytes)
        var places: [Place] = []
        for bytes in try ranks.gather(message.bytes, phase: "processors") {
            var reader = MessageReader(bytes)
            places.append(Place(host: try reader.text(), mask: try reader.raw()))
        }
        self.init(of: ranks.rank, in: places, processors: sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    }
}
