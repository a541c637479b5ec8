import Dispatch
import Synchronization

/// Runs `body` for 0 ..< count on all cores, or on at most `threads`, and returns the results in order.
func parallelMap<Value: Sendable>(
    count: Int, threads: Int? = nil, _ body: @Sendable (Int) -> Value
) -> [Value] {
    let results = Mutex([Value?](repeating: nil, count: count))
    let next = Atomic(0)
    DispatchQueue.concurrentPerform(iterations: min(threads ?? count, count)) { _ in
        while true {
            let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
            guard index < count else { return }
            let value = body(index)
            results.withLock { $0[index] = value }
        }
    }
    return results.withLock { $0.map { $0! } }
}
