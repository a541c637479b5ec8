internal import Dispatch
internal import NIOCore
internal import NIOWebSocket

/// One client: puts frames together to messages, keeps the connection alive, and hands messages to a ``Conversation``.
final class WebSocketSession: ChannelInboundHandler {
    typealias InboundIn = WebSocketFrame
    typealias OutboundOut = WebSocketFrame

    private let state: ServerState
    private let served: ServedProtocol
    private var context: ChannelHandlerContext?
    private var conversation: Conversation?
    /// Payloads of a message whose last frame is still to come.
    private var fragments: [UInt8]?
    private var lastRead = NIODeadline.now()
    private var timer: RepeatedTask?
    private var isClosing = false

    init(state: ServerState, served: ServedProtocol) {
        self.state = state
        self.served = served
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        lastRead = .now()
        state.add(self)
        let conversation = Conversation(state: state, served: served, owner: ObjectIdentifier(self)) { [weak self] in
            self?.send($0)
        }
        self.conversation = conversation
        conversation.start()
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        let interval = TimeAmount.milliseconds(Int64(state.options.idleTimeout) * 1_000 / 4)
        timer = context.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
            bound.value.checkIdle()
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { end() }

    private func end() {
        context = nil
        conversation = nil
        timer?.cancel()
        timer = nil
        state.remove(self)
    }

    /// A client that does not read its answers is not read either.
    func channelWritabilityChanged(context: ChannelHandlerContext) {
        _ = context.channel.setOption(.autoRead, value: context.channel.isWritable)
        context.fireChannelWritabilityChanged()
    }

    // MARK: - Receiving

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isClosing else { return closingRead(context, unwrapInboundIn(data)) }
        let frame = unwrapInboundIn(data)
        lastRead = .now()
        guard frame.maskKey != nil else { return close(.protocolError, "frames of a client must be masked") }
        guard !frame.rsv1, !frame.rsv2, !frame.rsv3 else {
            return close(.protocolError, "a reserved bit is set; no extension was agreed on")
        }
        switch frame.opcode {
        case .binary, .text, .continuation: receive(frame)
        case .ping: write(WebSocketFrame(fin: true, opcode: .pong, data: frame.unmaskedData))
        case .pong: break
        case .connectionClose: closingRead(context, frame)
        default: close(.protocolError, "an unknown kind of frame")
        }
    }

    private func receive(_ frame: WebSocketFrame) {
        if frame.opcode == .text {
            return close(.unacceptableData, "expected MessagePack in binary messages; found a text message")
        }
        let isFirst = frame.opcode == .binary
        guard isFirst == (fragments == nil) else {
            return close(
                .protocolError,
                isFirst ? "a message begins before the last one has ended" : "a continuation of no message")
        }
        let payload = frame.unmaskedData
        let size = (fragments?.count ?? 0) + payload.readableBytes
        guard size <= state.options.maximumMessage else { return close(.messageTooLarge, tooLarge) }
        // In place: a message may come in very many parts.
        if isFirst { fragments = [] }
        fragments?.append(contentsOf: payload.readableBytesView)
        guard frame.fin, let message = fragments else { return }
        fragments = nil
        conversation?.receive(message, at: DispatchTime.now().uptimeNanoseconds)
    }

    private var tooLarge: String {
        "a message is larger than \(state.options.maximumMessage >> 20) MB, the limit of --max-message-mb"
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case NIOWebSocketError.invalidFrameLength: close(.messageTooLarge, tooLarge)
        case is NIOWebSocketError: close(.protocolError, "a control frame is too long or in parts")
        default: context.close(promise: nil)
        }
    }

    // MARK: - Sending

    private func send(_ reply: Conversation.Reply) {
        switch reply {
        case .message(let value):
            write(WebSocketFrame(fin: true, opcode: .binary, data: ByteBuffer(bytes: value.encoded)))
        case .text(let text):
            write(WebSocketFrame(fin: true, opcode: .text, data: ByteBuffer(string: text)))
        }
    }

    private func write(_ frame: WebSocketFrame) {
        guard let context, !isClosing else { return }
        context.writeAndFlush(wrapOutboundOut(frame), promise: nil)
    }

    // MARK: - Closing

    /// Sends a close frame and ends the connection when the client has answered it, or after two seconds.
    func close(_ code: WebSocketErrorCode, _ reason: String) {
        guard let context, !isClosing else { return }
        var data = ByteBuffer()
        data.write(webSocketErrorCode: code)
        // A control frame has at most 125 bytes.
        data.writeString(String(decoding: reason.utf8.prefix(123), as: UTF8.self))
        write(WebSocketFrame(fin: true, opcode: .connectionClose, data: data))
        isClosing = true
        conversation = nil
        let channel = context.channel
        _ = context.eventLoop.scheduleTask(in: .seconds(2)) { channel.close(promise: nil) }
    }

    private func closingRead(_ context: ChannelHandlerContext, _ frame: WebSocketFrame) {
        guard frame.opcode == .connectionClose else { return }
        let channel = context.channel
        if isClosing { return channel.close(promise: nil) }
        var payload = frame.unmaskedData
        let answer = WebSocketFrame(
            fin: true, opcode: .connectionClose,
            data: payload.readSlice(length: min(2, payload.readableBytes)) ?? .init())
        isClosing = true
        conversation = nil
        context.writeAndFlush(wrapOutboundOut(answer)).whenComplete { _ in channel.close(promise: nil) }
    }

    private func checkIdle() {
        let silence = NIODeadline.now() - lastRead
        if silence > .seconds(Int64(state.options.idleTimeout)) {
            close(.goingAway, "nothing was received for \(state.options.idleTimeout) seconds")
        } else {
            write(WebSocketFrame(fin: true, opcode: .ping, data: ByteBuffer()))
        }
    }
}
