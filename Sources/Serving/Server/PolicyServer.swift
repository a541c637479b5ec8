internal import Formats
internal import Glibc
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import NIOWebSocket

/// Serves a policy to robots and simulators over WebSocket, with a few pages over HTTP on the same port.
///
/// One event loop does all networking; the policy runs on a thread of its own, one observation at a time.
package final class PolicyServer: Sendable {
    /// Where it listens.
    package let host: String
    /// The real port, also when any was asked for.
    package let port: Int
    /// What whoever serves the policy should know.
    package let notes: [String]
    private let group: MultiThreadedEventLoopGroup
    private let channel: any Channel
    private let state: NIOLoopBound<ServerState>

    /// Loads the checkpoint and listens.
    ///
    /// - Parameter checkpoint: a run folder (its last checkpoint), a checkpoint of a run, or a model folder with
    ///   `dataset_statistics.json`.
    /// - Throws: an error in words when the checkpoint is not a policy, an option is out of range, or the address is
    ///   taken.
    package convenience init(
        checkpoint: String, policy: PolicyOptions = PolicyOptions(), options: ServerOptions = ServerOptions()
    ) throws {
        try self.init(policy: try Policy(checkpoint: checkpoint, options: policy), options: options)
    }

    package init(policy: sending any ServedPolicy, options: ServerOptions) throws {
        try options.check(chunk: policy.summary.chunk)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        notes = policy.notes
        let handed = Handed(policy: policy)
        do {
            let state = try loop.submit {
                NIOLoopBound(ServerState(policy: handed.policy, options: options, loop: loop), eventLoop: loop)
            }.wait()
            channel = try ServerBootstrap(group: group)
                .serverChannelOption(.backlog, value: 64)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try Self.configure(channel, state) }
                }
                .bind(host: options.host, port: options.port).wait()
            self.state = state
        } catch {
            try? group.syncShutdownGracefully()
            throw ServingError(
                .unavailable,
                "--host \(options.host) --port \(options.port): cannot listen there: \(Self.reason(error))")
        }
        self.group = group
        host = options.host
        port = channel.localAddress?.port ?? options.port
    }

    private static func reason(_ error: any Error) -> String {
        switch error {
        case let error as IOError where error.errnoCode == EADDRINUSE:
            "the address is in use already; --port 0 takes any free port"
        case let error as IOError: String(cString: strerror(error.errnoCode))
        case is SocketAddressError.UnknownHost: "there is no host of this name"
        default: "\(error)"
        }
    }

    /// Answers the observation that is with the policy, closes every connection, and returns.
    package func stop() {
        try? channel.close().wait()
        let state = state
        let stopped = group.next().flatSubmit { state.value.stop() }
        try? stopped.wait()
        try? group.syncShutdownGracefully()
    }

    /// Carries a policy to the event loop; nothing else refers to it.
    private struct Handed: @unchecked Sendable {
        let policy: any ServedPolicy
    }

    private static func configure(_ channel: any Channel, _ state: NIOLoopBound<ServerState>) throws {
        let guardian = ConnectionGuard(state: state.value)
        try channel.pipeline.syncOperations.addHandler(guardian)
        let bound = NIOLoopBound(guardian, eventLoop: channel.eventLoop)
        let options = state.value.options
        let upgrader = NIOTypedWebSocketServerUpgrader<Void>(
            maxFrameSize: options.maximumMessage, enableAutomaticErrorHandling: false,
            shouldUpgrade: { channel, request in
                let isServed = ServedProtocol.named(byPath: request.uri, fallback: options.served) != nil
                let headers = isServed && state.value.refusal == nil ? HTTPHeaders() : nil
                return channel.eventLoop.makeSucceededFuture(headers)
            },
            upgradePipelineHandler: { channel, request in
                channel.eventLoop.makeCompletedFuture {
                    bound.value.handshakeIsDone()
                    let served = ServedProtocol.named(byPath: request.uri, fallback: options.served) ?? options.served
                    try channel.pipeline.syncOperations.addHandler(
                        WebSocketSession(state: state.value, served: served))
                }
            })
        let upgrade = NIOTypedHTTPServerUpgradeConfiguration<Void>(
            upgraders: [upgrader],
            notUpgradingCompletionHandler: { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        HTTPPages(state: state.value, request: bound.value.request))
                }
            })
        var http = NIOUpgradableHTTPServerPipelineConfiguration(upgradeConfiguration: upgrade)
        // NIO's answers without a word and leaves the connection open.
        http.enableErrorHandling = false
        http.decoderConfiguration.maxHeaderListSize = 64 << 10
        _ = try channel.pipeline.syncOperations.configureUpgradableHTTPServerPipeline(configuration: http)
        let handler = try channel.pipeline.syncOperations.handler(type: NIOTypedHTTPServerUpgradeHandler<Void>.self)
        try channel.pipeline.syncOperations.addHandler(
            RequestRecorder(guardian: guardian), position: .before(handler))
    }
}
