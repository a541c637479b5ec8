internal import Foundation

/// Memory of this process.
public enum ProcessMemory {
    /// Largest resident size so far, in bytes, files that are mapped included.
    ///
    /// Read from `/proc`: getrusage's figure outlives exec and would count what the parent process had.
    public static var peakBytes: Int {
        if let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
            let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") }),
            let kibibytes = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap({
                Int($0)
            })
        {
            return kibibytes * 1024
        }
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return Int(usage.ru_maxrss) * 1024
    }
}
