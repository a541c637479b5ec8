internal import CProcessors
internal import Glibc

/// The processors that this process may run on: a launcher, a container or `taskset` may leave it fewer than there are.
package enum ProcessorMask {
    /// A bit for each processor of the machine.
    package static var bytes: [UInt8] {
        var mask = [UInt8](repeating: 0, count: 1024)
        guard sched_getaffinity(0, mask.count, &mask) == 0 else { return [] }
        return Array(mask.prefix((mask.lastIndex { $0 != 0 } ?? -1) + 1))
    }

    /// How many they are; at least 1.
    package static var count: Int {
        let count = bytes.reduce(0) { $0 + $1.nonzeroBitCount }
        return count > 0 ? count : max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    }
}
