internal import NIOCore

/// The first handler of every connection: refuses connections beyond those that clients need, and closes one that has
/// not become a WebSocket in time, however slowly it sends its request.
final class ConnectionGuard: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    /// HTTP connections at a time beside the clients'.
    private static let others = 64

    private let state: ServerState
    private var deadline: Scheduled<Void>?
    private var isCounted = false

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
