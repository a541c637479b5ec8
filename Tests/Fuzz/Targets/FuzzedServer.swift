import Data
import Foundation
import Serving

/// A policy server on a port of its own whose policy answers at once, and clients that send it whatever they like.
final class FuzzedServer: Sendable {
    /// What a server says of wrong bytes.
    struct Refused: Error {}

    /// Takes what a LIBERO policy takes.
    private struct StillPolicy: ServedPolicy {
        let notes: [String] = []
        let summary = FuzzedServer.summary

        func actions(for observation: Observation) throws -> [Float] { [Float](repeating: 0, count: 14) }
    }

    static let summary = Policy.Summary(
        checkpoint: "fuzz", identity: "fuzz", cameras: ["image", "wrist_image"], imageSize: 8, chunk: 2, actionDim: 7,
        stateDim: 8, gripper: .libero, parameterCount: 0, centreCrops: false)

    private let server: PolicyServer

    init() throws {
        var options = ServerOptions()
        (options.port, options.maximumMessage) = (0, 1 << 20)
        server = try PolicyServer(policy: StillPolicy(), options: options)
    }

    func stop() { server.stop() }

    /// Sends bytes, alone or after a WebSocket's handshake, and reads until the server has closed the connection.
    ///
    /// - Throws: ``Refused`` for what is no HTTP answer of success, or a close frame that says what was wrong.
    func send(_ bytes: [UInt8], handshakes: Bool) throws {
        let answer = try exchange(handshakes ? Self.handshake + bytes : bytes)
        let isSound =
            handshakes
            ? Self.closeCode(answer).map { $0 < 1002 } ?? true : answer.starts(with: Array("HTTP/1.1 200".utf8))
        if !isSound { throw Refused() }
    }

    /// The code of the close frame among a server's frames, which follow the head of its handshake.
    private static func closeCode(_ answer: [UInt8]) -> Int? {
        guard let head = String(decoding: answer, as: UTF8.self).range(of: "\r\n\r\n") else { return nil }
        var rest = answer.dropFirst(String(decoding: answer, as: UTF8.self)[..<head.upperBound].utf8.count)
        while rest.count >= 2 {
            let (opcode, short) = (rest[rest.startIndex] & 0x0f, Int(rest[rest.startIndex + 1]))
            let width = short == 126 ? 2 : short == 127 ? 8 : 0
            guard rest.count >= 2 + width else { return nil }
            let long = rest.dropFirst(2).prefix(width).reduce(0) { $0 << 8 | Int($1) }
            rest = rest.dropFirst(2 + width)
            let payload = rest.prefix(width == 0 ? short : long)
            if opcode == 8 { return payload.count < 2 ? nil : payload.prefix(2).reduce(0) { $0 << 8 | Int($1) } }
            rest = rest.dropFirst(payload.count)
        }
        return nil
    }

    private static let handshake = Array(
        ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").utf8)

    private func exchange(_ bytes: [UInt8]) throws -> [UInt8] {
        let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        var address = sockaddr_in()
        (address.sin_family, address.sin_port) = (sa_family_t(AF_INET), in_port_t(server.port).bigEndian)
        address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else {
            fatalError("the server does not take connections: \(String(cString: strerror(errno)))")
        }
        // The server answers within this, or it hangs.
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var rest = bytes[...]
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            // It may have closed the connection at the first wrong byte.
            if sent <= 0 { break }
            rest = rest.dropFirst(sent)
        }
        shutdown(socket, Int32(SHUT_WR))
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(socket, &buffer, buffer.count, 0)
            if count < 0, errno == EAGAIN { fatalError("the server neither answers nor closes the connection") }
            if count <= 0 { break }
            answer += buffer[..<count]
        }
        return answer
    }
}
