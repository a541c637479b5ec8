internal import Formats

/// Where and how a policy is served.
package struct ServerOptions: Sendable {
    package var host = "127.0.0.1"
    /// 0 takes any free port.
    package var port = 8000
    package var served = ServedProtocol.auto
    /// WebSocket connections at a time.
    package var maximumClients = 16
    /// Observations that wait for the policy at a time, of all clients.
    package var maximumQueue = 32
    /// Bytes of one message.
    package var maximumMessage = 16 << 20
    /// vla-eval: actions of a chunk that are carried out before the policy is asked again; nil all of them.
    package var chunkSteps: Int?
    /// Seconds after which a connection that sends nothing, not even an answer to a ping, is closed.
    package var idleTimeout = 120
    /// Seconds in which a connection must have made its HTTP request.
    package var handshakeTimeout = 10

    package init() {}

    /// Refuses values that cannot work.
    package func check(chunk: Int) throws(ServingError) {
        func need(_ value: Int, _ range: ClosedRange<Int>, _ flag: String) throws(ServingError) {
            guard range.contains(value) else {
                throw ServingError(.invalid, "\(flag) is \(value); expected \(range.lowerBound) to \(range.upperBound)")
            }
        }
        try need(port, 0...65_535, "--port")
        try need(maximumClients, 1...1_024, "--max-clients")
        try need(maximumQueue, 1...4_096, "--max-queue")
        try need(maximumMessage >> 20, 1...1_024, "--max-message-mb")
        try need(idleTimeout, 1...86_400, "--idle-timeout")
        try need(handshakeTimeout, 1...3_600, "handshakeTimeout")
        if let chunkSteps { try need(chunkSteps, 1...chunk, "--chunk-steps") }
    }
}
