internal import Glibc

/// Memory of this process.
public enum ProcessMemory {
    /// Largest resident size so far, in bytes.
    public static var peakBytes: Int {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return Int(usage.ru_maxrss) * 1024
    }
}
