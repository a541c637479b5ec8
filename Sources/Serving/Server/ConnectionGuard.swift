internal import NIOCore
internal import NIOHTTP1

/// The first handler of every connection: refuses connections beyond those that clients need, and closes one that has
/// not become a WebSocket in time, however slowly it sends its request.
final class ConnectionGuard: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// HTTP connections at a time beside the clients'.
    private static let others = 64

    private let state: ServerState
    private var deadline: Scheduled<Void>?
    /// The connection's first request; the upgrade handler forgets one that asks for an upgrade and is refused it.
    var request: HTTPRequestHead?

    init(state: ServerState) { self.state = state }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        guard state.connectionCount < state.options.maximumClients + Self.others else {
            return channel.close(promise: nil)
        }
        state.connectionCount += 1
        close(channel, after: .seconds(Int64(state.options.handshakeTimeout)))
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        // Not in channelInactive: a connection that ends before it was active never comes there.
        channel.closeFuture.whenComplete { _ in bound.value.connectionHasEnded() }
    }

    private func close(_ channel: any Channel, after time: TimeAmount) {
        deadline?.cancel()
        deadline = channel.eventLoop.scheduleTask(in: time) { channel.close(promise: nil) }
    }

    /// The connection has become a WebSocket, which has its own rules.
    func handshakeIsDone() {
        deadline?.cancel()
        deadline = nil
    }

    private func connectionHasEnded() {
        handshakeIsDone()
        state.connectionCount -= 1
    }

    /// Says what is expected to someone whose bytes are no HTTP request, and ends the connection.
    ///
    /// - Parameter channel: the connection's, where bytes are not encoded as HTTP until here.
    func refuseBytes(on channel: any Channel) {
        let sentence =
            "expected an HTTP request with a head of at most 64 kB: a WebSocket's, or GET /, /health or /config\n"
        let answer =
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
            + "Content-Length: \(sentence.utf8.count)\r\nConnection: close\r\n\r\n\(sentence)"
        guard let first = try? channel.pipeline.syncOperations.context(handler: self) else {
            return channel.close(promise: nil)
        }
        first.writeAndFlush(wrapOutboundOut(ByteBuffer(string: answer)), promise: nil)
        // Closed at once, with bytes unread, the answer might never arrive.
        channel.close(mode: .output, promise: nil)
        close(channel, after: .seconds(1))
    }
}

/// Tells a connection's ``ConnectionGuard`` its first request, or that there is none in what was sent, and leaves the
/// pipeline: what follows an upgrade is no HTTP.
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

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard error is HTTPParserError else { return context.close(promise: nil) }
        guardian.refuseBytes(on: context.channel)
    }
}
