/// What the server has done so far. Latencies are milliseconds from a message's last byte to its answer, waiting
/// included, of the latest requests that asked the policy.
struct ServerStatistics: Sendable {
    private static let kept = 1_000

    var clients = 0
    var connections = 0
    /// Answers with actions, and answers with errors.
    var actions = 0
    var errors = 0
    private var latencies: [Double] = []
    private var next = 0

    mutating func record(latency: Double) {
        if latencies.count < Self.kept {
            latencies.append(latency)
        } else {
            latencies[next] = latency
            next = (next + 1) % Self.kept
        }
    }

    /// Median and 99th percentile (nearest rank); nil before the first request.
    var percentiles: (p50: Double, p99: Double)? {
        guard !latencies.isEmpty else { return nil }
        let sorted = latencies.sorted()
        func rank(_ p: Double) -> Double {
            sorted[min(sorted.count - 1, max(0, Int((p * Double(sorted.count)).rounded(.up)) - 1))]
        }
        return (rank(0.5), rank(0.99))
    }
}
