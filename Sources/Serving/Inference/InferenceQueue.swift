internal import Dispatch
internal import Formats
internal import NIOCore

/// Asks the policy one observation at a time, in the order of arrival. Lives on one event loop; the policy runs on a
/// thread of its own.
final class InferenceQueue {
    struct Answer: Sendable {
        var actions: [Float]
        /// Milliseconds in the policy.
        var inference: Double
    }

    /// A request that waits for its turn.
    struct Request {
        /// Whose it is.
        let owner: ObjectIdentifier
        /// Called when its turn comes: the observation, or nil when the owner has answered without the policy.
        let begin: () -> Observation?
        let finish: (Result<Answer, ServingError>) -> Void
    }

    /// Lets the policy go to its thread, and to no other.
    private struct Runner: @unchecked Sendable {
        let policy: any ServedPolicy
    }

    private let runner: Runner
    private let loop: any EventLoop
    private let limit: Int
    private let thread = DispatchQueue(label: "craft.policy", qos: .userInitiated)
    private var waiting: [Request] = []
    private var isRunning = false
    private var isStopped = false
    private var idlePromise: EventLoopPromise<Void>?

    init(policy: any ServedPolicy, limit: Int, loop: any EventLoop) {
        runner = Runner(policy: policy)
        self.limit = limit
        self.loop = loop
    }

    var count: Int { waiting.count + (isRunning ? 1 : 0) }

    func submit(_ request: Request) {
        if isStopped { return request.finish(.failure(Self.stopping)) }
        guard waiting.count < limit else {
            return request.finish(
                .failure(
                    ServingError(
                        .busy,
                        "the server is busy: \(limit) observations wait for the policy already; try again later")))
        }
        waiting.append(request)
        startNext()
    }

    /// Forgets the requests of a client that is gone.
    func cancel(_ owner: ObjectIdentifier) { waiting.removeAll { $0.owner == owner } }

    /// Refuses what waits and what comes; the result is there when the request that runs is answered.
    func stop() -> EventLoopFuture<Void> {
        isStopped = true
        let refused = waiting
        waiting = []
        for request in refused { request.finish(.failure(Self.stopping)) }
        if !isRunning { return loop.makeSucceededVoidFuture() }
        let promise = loop.makePromise(of: Void.self)
        idlePromise = promise
        return promise.futureResult
    }

    private static let stopping = ServingError(.stopping, "the server is stopping")

    private func startNext() {
        while !isRunning, !waiting.isEmpty {
            let request = waiting.removeFirst()
            guard let observation = request.begin() else { continue }
            isRunning = true
            let back = NIOLoopBound((self, request), eventLoop: loop)
            thread.async { [runner, loop] in
                let start = DispatchTime.now().uptimeNanoseconds
                let result: Result<[Float], any Error> = Result { try runner.policy.actions(for: observation) }
                let milliseconds = Double(DispatchTime.now().uptimeNanoseconds - start) / 1e6
                loop.execute {
                    let (queue, request) = back.value
                    queue.isRunning = false
                    request.finish(
                        result.map { Answer(actions: $0, inference: milliseconds) }
                            .mapError { ($0 as? ServingError) ?? ServingError(.failed, String(describing: $0)) })
                    queue.idlePromise?.succeed()
                    queue.idlePromise = nil
                    queue.startNext()
                }
            }
        }
    }
}
