internal import NIOCore
internal import NIOWebSocket

/// What the connections of a server share. Lives on the server's event loop.
final class ServerState {
    let options: ServerOptions
    let summary: Policy.Summary
    let queue: InferenceQueue
    var statistics = ServerStatistics()
    private(set) var isStopping = false
    private var sessions: [ObjectIdentifier: WebSocketSession] = [:]
    private var emptyPromise: EventLoopPromise<Void>?
    private let loop: any EventLoop
    /// TCP connections, HTTP ones included.
    var connectionCount = 0

    init(policy: any ServedPolicy, options: ServerOptions, loop: any EventLoop) {
        summary = policy.summary
        self.options = options
        self.loop = loop
        queue = InferenceQueue(policy: policy, limit: options.maximumQueue, loop: loop)
    }

    /// Why no further client can come; nil when one can.
    var refusal: String? {
        if isStopping { return "the server is stopping" }
        if sessions.count >= options.maximumClients {
            return "\(sessions.count) clients are connected, the most that --max-clients allows; try again later"
        }
        return nil
    }

    func add(_ session: WebSocketSession) {
        sessions[ObjectIdentifier(session)] = session
        statistics.clients = sessions.count
        statistics.connections += 1
    }

    func remove(_ session: WebSocketSession) {
        guard sessions.removeValue(forKey: ObjectIdentifier(session)) != nil else { return }
        queue.cancel(ObjectIdentifier(session))
        statistics.clients = sessions.count
        if sessions.isEmpty {
            emptyPromise?.succeed()
            emptyPromise = nil
        }
    }

    /// Answers the request that runs, refuses those that wait, and says goodbye to every client.
    func stop() -> EventLoopFuture<Void> {
        isStopping = true
        let bound = NIOLoopBound(self, eventLoop: loop)
        return queue.stop().flatMap { [loop] in
            let state = bound.value
            if state.sessions.isEmpty { return loop.makeSucceededVoidFuture() }
            let promise = loop.makePromise(of: Void.self)
            state.emptyPromise = promise
            for session in state.sessions.values { session.close(.goingAway, "the server is stopping") }
            return promise.futureResult
        }
    }
}
