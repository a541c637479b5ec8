internal import Formats
internal import Foundation
package import Tensors

/// A profile as `chrome://tracing` and Perfetto open it (Trace Event Format, complete events), and as a table.
package enum TraceFile {
    private struct Event: Encodable {
        var name: String
        var cat: String
        var ph = "X"
        /// Microseconds.
        var ts: Double
        var dur: Double
        var pid = 1
        var tid = 1
        var args: [String: Double]
    }

    private struct File: Encodable {
        var traceEvents: [Event]
        var displayTimeUnit = "ms"
    }

    /// Writes the profile's spans.
    package static func write(_ profile: OperationProfile, to path: String) throws {
        let events = profile.spans.map { span in
            let rate = span.flops > 0 && span.duration > 0 ? ["GFLOP/s": span.flops / Double(span.duration)] : [:]
            return Event(
                name: span.name, cat: span.category.rawValue, ts: Double(span.start) / 1e3,
                dur: Double(span.duration) / 1e3, args: rate)
        }
        try AtomicFile.write(JSONText.document(File(traceEvents: events), pretty: false), to: path)
    }

    /// One row of the table: a phase, or an operation in one direction.
    package struct Share: Sendable {
        package let name: String
        package let category: OperationProfile.Category
        package let calls: Int
        package let milliseconds: Double
        /// Of all phases together.
        package let fraction: Double
        /// 10^9 floating-point operations per second in matrix products; 0 when there are none.
        package let gigaflops: Double
    }

    /// Time by phase and by operation, most first within each.
    package static func shares(of profile: OperationProfile) -> [Share] {
        var sums: [String: (span: OperationProfile.Span, calls: Int, time: Double, flops: Double)] = [:]
        for span in profile.spans {
            let key = "\(span.category.rawValue) \(span.name)"
            var sum = sums[key] ?? (span, 0, 0, 0)
            sum.calls += 1
            sum.time += Double(span.duration)
            sum.flops += span.flops
            sums[key] = sum
        }
        let total = sums.values.filter { $0.span.category == .phase }.reduce(0) { $0 + $1.time }
        return sums.values.map { sum in
            Share(
                name: sum.span.name, category: sum.span.category, calls: sum.calls, milliseconds: sum.time / 1e6,
                fraction: total > 0 ? sum.time / total : 0,
                gigaflops: sum.span.category == .phase || sum.time == 0 ? 0 : sum.flops / sum.time)
        }.sorted {
            ($0.category == .phase ? 0 : 1, -$0.milliseconds, $0.name)
                < ($1.category == .phase ? 0 : 1, -$1.milliseconds, $1.name)
        }
    }
}
