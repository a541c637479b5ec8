internal import Dispatch
internal import Tensors

/// Wall-clock time and heap allocations by phase.
struct PhaseClock {
    private(set) var milliseconds: [String: Double] = [:]
    private(set) var allocations: [String: Int] = [:]
    private var last = DispatchTime.now().uptimeNanoseconds
    private var allocated = AllocationCounter.count
    private let profile: OperationProfile?
    private var profiledFrom: UInt64

    init(profile: OperationProfile? = nil) {
        self.profile = profile
        profiledFrom = profile?.now ?? 0
    }

    /// Ends the phase that began with the last lap.
    mutating func lap(_ phase: String) {
        let now = DispatchTime.now().uptimeNanoseconds
        let count = AllocationCounter.count
        if let profile {
            profile.end(phase, .phase, from: profiledFrom)
            profiledFrom = profile.now
        }
        milliseconds[phase, default: 0] += Double(now - last) / 1e6
        last = now
        // What the clock itself allocates belongs to no phase.
        if let count, let before = allocated {
            allocations[phase, default: 0] += count - before
            allocated = AllocationCounter.count
        }
    }
}
