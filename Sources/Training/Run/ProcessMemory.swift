internal import Foundation
internal import Glibc

/// Memory of this process.
package enum ProcessMemory {
    /// Largest resident size so far, in bytes.
    package static var peakBytes: Int {
        // getrusage() would also count the parent's size at the fork: Linux keeps that maximum across exec.
        if let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
            let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") }),
            let kibibytes = Int(line.filter(\.isNumber))
        {
            return kibibytes * 1024
        }
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return Int(usage.ru_maxrss) * 1024
    }
}
