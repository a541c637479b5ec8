internal import Foundation
internal import NIOCore
internal import NIOHTTP1

/// Answers what is not a WebSocket: /health, /config and the status page. Every answer ends the connection.
final class HTTPPages: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let state: ServerState
    private var hasAnswered = false

    /// The request of this connection when its head does not come through the pipeline: that of a refused upgrade.
    private let request: HTTPRequestHead?

    init(state: ServerState, request: HTTPRequestHead?) {
        self.state = state
        self.request = request
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let request): answer(request, context)
        case .end: if let request { answer(request, context) }
        case .body: break
        }
    }

    private func answer(_ request: HTTPRequestHead, _ context: ChannelHandlerContext) {
        guard !hasAnswered else { return }
        hasAnswered = true
        let page = page(for: request)
        var headers = HTTPHeaders()
        headers.add(name: "Content-Type", value: page.type)
        headers.add(name: "Content-Length", value: String(page.body.utf8.count))
        headers.add(name: "Connection", value: "close")
        headers.add(name: "Cache-Control", value: "no-store")
        let head = HTTPResponseHead(version: .http1_1, status: page.status, headers: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if request.method != .HEAD {
            context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: page.body)))), promise: nil)
        }
        let channel = context.channel
        context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in channel.close(promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func page(for request: HTTPRequestHead) -> (status: HTTPResponseStatus, type: String, body: String) {
        func text(_ status: HTTPResponseStatus, _ sentence: String) -> (HTTPResponseStatus, String, String) {
            (status, "text/plain; charset=utf-8", sentence + "\n")
        }
        let path = String(request.uri.prefix { $0 != "?" })
        // A WebSocket request ends up here when it was refused.
        if request.headers["Upgrade"].contains(where: { $0.lowercased() == "websocket" }) {
            if ServedProtocol.named(byPath: path, fallback: state.options.served) == nil {
                return text(.notFound, "\(path): no such path; connect to /, /openpi or /vla-eval")
            }
            if let refusal = state.refusal { return text(.serviceUnavailable, refusal) }
            return text(.badRequest, "not a WebSocket request of version 13")
        }
        guard request.method == .GET || request.method == .HEAD else {
            return text(.methodNotAllowed, "\(request.method): only GET is answered; observations go over a WebSocket")
        }
        switch path {
        case "/health": return (.ok, "application/json", json(health))
        case "/config": return (.ok, "application/json", json(configuration))
        case "/": return (.ok, "text/html; charset=utf-8", statusPage)
        default: return text(.notFound, "\(path): no such page; there are /, /health and /config")
        }
    }

    private func json(_ object: [String: Any]) -> String {
        let data = try? JSONSerialization.data(
            withJSONObject: object, options: [.sortedKeys, .withoutEscapingSlashes])
        return data.map { String(decoding: $0, as: UTF8.self) + "\n" } ?? "{}\n"
    }

    private var health: [String: Any] {
        var health: [String: Any] = [
            "status": state.isStopping ? "stopping" : "ok", "clients": state.statistics.clients,
            "queued": state.queue.count, "actions": state.statistics.actions, "errors": state.statistics.errors,
        ]
        if let latency = state.statistics.percentiles {
            health["latency_ms"] = ["p50": latency.p50, "p99": latency.p99]
        }
        return health
    }

    private var configuration: [String: Any] {
        let (summary, options) = (state.summary, state.options)
        return [
            "checkpoint": summary.checkpoint, "cameras": summary.cameras, "image_size": summary.imageSize,
            "centre_crop": summary.centreCrops, "action_horizon": summary.chunk, "action_dim": summary.actionDim,
            "state_dim": summary.stateDim, "parameters": summary.parameterCount, "protocol": options.served.rawValue,
            "chunk_steps": options.chunkSteps ?? summary.chunk, "max_clients": options.maximumClients,
            "max_queue": options.maximumQueue, "max_message_bytes": options.maximumMessage,
            "idle_timeout_s": options.idleTimeout,
        ]
    }

    private var statusPage: String {
        let (summary, statistics) = (state.summary, state.statistics)
        let latency = statistics.percentiles.map {
            String(format: "p50 %.1f ms, p99 %.1f ms (latest 1000 at most)", $0.p50, $0.p99)
        }
        let rows = [
            ("Checkpoint", summary.checkpoint), ("Parameters", String(summary.parameterCount)),
            ("Cameras", summary.cameras.joined(separator: ", ")),
            ("Actions in a chunk", String(summary.chunk)), ("Protocol", state.options.served.rawValue),
            ("Clients", "\(statistics.clients) now, \(statistics.connections) in all"),
            ("Waiting for the policy", String(state.queue.count)),
            ("Answers", "\(statistics.actions) with actions, \(statistics.errors) with errors"),
            ("Latency", latency ?? "no request yet"),
        ].map { "<tr><th>\(Self.escaped($0.0))</th><td>\(Self.escaped($0.1))</td></tr>" }
        return """
            <!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5">
            <title>craft serve</title><style>body{font:15px system-ui;margin:2em}th{text-align:left;padding-right:2em;\
            font-weight:600}td,th{padding-bottom:.4em}</style></head>
            <body><h1>craft serve</h1><table>
            \(rows.joined(separator: "\n"))
            </table><p><a href="/health">/health</a> <a href="/config">/config</a></p></body></html>

            """
    }

    private static func escaped(_ text: String) -> String {
        text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;")
            .replacingOccurrences(of: ">", with: "&gt;")
    }
}
