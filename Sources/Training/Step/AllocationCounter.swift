internal import Foundation

/// Counts this process's heap allocations, on all threads, when `bench/count_allocations.c` was preloaded into it.
enum AllocationCounter {
    private static let function: (@convention(c) () -> Int)? =
        dlsym(UnsafeMutableRawPointer(bitPattern: 0), "craft_allocation_count").map {
            unsafeBitCast($0, to: (@convention(c) () -> Int).self)
        }

    /// Calls of malloc and its relatives so far; nil when nothing counts.
    static var count: Int? { function?() }
}
