internal import Dispatch

/// A record of what ran when: phases of the step, and inside of them operations, forward and backward.
///
/// A ``Tape`` without a profile measures nothing. Times are wall clock on the thread that runs training.
package final class OperationProfile {
    package enum Category: String, Sendable {
        case forward, backward, phase
    }

    package struct Span: Sendable {
        package let name: String
        package let category: Category
        /// Nanoseconds since the profile was made.
        package let start: UInt64
        package let duration: UInt64
        /// Floating-point operations of its matrix products, a multiply-add counted as two.
        package let flops: Double
    }

    package private(set) var spans: [Span] = []
    private let origin = DispatchTime.now().uptimeNanoseconds
    private var flops = 0.0

    package init() {}

    package var now: UInt64 { DispatchTime.now().uptimeNanoseconds - origin }

    /// Notes the products [m, k] x [k, n] of the operation that runs.
    func countProduct(_ m: Int, _ n: Int, _ k: Int, times: Int = 1) {
        flops += 2 * Double(m) * Double(n) * Double(k) * Double(times)
    }

    /// Ends a span that began at `start`.
    package func end(_ name: String, _ category: Category, from start: UInt64) {
        spans.append(Span(name: name, category: category, start: start, duration: now - start, flops: flops))
        if category != .phase { flops = 0 }
    }

    /// Forgets what was recorded.
    package func clear() {
        spans.removeAll(keepingCapacity: true)
        flops = 0
    }
}
