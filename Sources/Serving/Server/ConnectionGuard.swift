internal import NIOCore
internal import NIOHTTP1

/// The first handler of every connection: refuses connections beyond those that clients need, and closes one that has
/// not become a WebSocket in time, however slowly it sends its request.
final class ConnectionGuard: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    /// HTTP connections at a time beside the clients'.
    private static let others = 64

    private let state: ServerState
    private var deadline: Scheduled<Void>?
    private var isCounted = false
    /// The connection's first request; the upgrade handler forgets one that asks for an upgrade and is refused it.
    var request: HTTPRequestHead?

    init(state: ServerState) { self.state = state }

    func handlerAdded(context: ChannelHandlerContext) {
        isCounted = true
        state.connectionCount += 1
        let channel = context.channel
        guard state.connectionCount <= state.options.maximumClients + Self.others else {
            return channel.close(promise: nil)
        }
        deadline = context.eventLoop.scheduleTask(in: .seconds(Int64(state.options.handshakeTimeout))) {
            channel.close(promise: nil)
        }
    }

    /// The connection has become a WebSocket, which has its own rules.
    func handshakeIsDone() {
        deadline?.cancel()
        deadline = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        handshakeIsDone()
        if isCounted { state.connectionCount -= 1 }
        isCounted = false
        context.fireChannelInactive()
    }
}

/// Remembers the first request of a connection for its ``ConnectionGuard``, and leaves the pipeline: what follows an
/// upgrade is no HTTP.
final class RequestRecorder: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart

    private let guardian: ConnectionGuard

    init(guardian: ConnectionGuard) { self.guardian = guardian }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .head(let request) = unwrapInboundIn(data) { guardian.request = request }
        context.fireChannelRead(data)
        context.pipeline.syncOperations.removeHandler(self, promise: nil)
    }
}
