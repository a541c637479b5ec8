import Foundation
import Glibc
import Serving

/// A WebSocket client on a plain socket, able to send what no library would.
final class WebSocketClient {
    enum Frame: Equatable {
        case message([UInt8])
        case text(String)
        case ping
        case pong
        case close(Int, String)
    }

    struct Failure: Error, CustomStringConvertible { let description: String }

    private let socket: Int32
    /// The status line and headers of the server's answer.
    private(set) var response = ""

    /// Connects; with `path` also upgrades to a WebSocket.
    init(port: Int, path: String? = "/") throws {
        socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var timeout = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(UInt16(port).bigEndian)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw Failure(description: "cannot connect") }
        guard let path else { return }
        try request(
            "GET \(path) HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
        guard response.hasPrefix("HTTP/1.1 101") else { throw Failure(description: response + (try rest())) }
    }

    deinit { close(socket) }

    /// Sends an HTTP request and reads the head of the answer.
    func request(_ text: String) throws {
        send(Array(text.utf8))
        while !response.hasSuffix("\r\n\r\n") { response += String(decoding: try receive(1), as: UTF8.self) }
    }

    /// Everything up to the end of the connection.
    func rest() throws -> String {
        var bytes: [UInt8] = []
        while let byte = try? receive(1) { bytes += byte }
        return String(decoding: bytes, as: UTF8.self)
    }

    @discardableResult
    func send(_ bytes: [UInt8]) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count <= 0 { return false }
            sent += count
        }
        return true
    }

    func send(_ value: MessagePackValue) { send(frame: 0x82, value.encoded) }

    /// - Parameter frame: the first byte: 0x80 for the last frame of a message, and the kind.
    func send(frame: UInt8, _ payload: [UInt8], masked: Bool = true) {
        var bytes = [frame]
        let mask: UInt8 = masked ? 0x80 : 0
        switch payload.count {
        case ..<126: bytes.append(mask | UInt8(payload.count))
        case ..<65_536: bytes += [mask | 126, UInt8(payload.count >> 8), UInt8(payload.count & 0xff)]
        default:
            bytes.append(mask | 127)
            bytes += (0..<8).reversed().map { UInt8(truncatingIfNeeded: payload.count >> (8 * $0)) }
        }
        let key: [UInt8] = masked ? [0x12, 0x9a, 0x5c, 0xee] : []
        bytes += key
        bytes += masked ? payload.enumerated().map { $1 ^ key[$0 % 4] } : payload
        send(bytes)
    }

    private func receive(_ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let read = bytes[done...].withUnsafeMutableBytes { recv(socket, $0.baseAddress, $0.count, 0) }
            guard read > 0 else { throw Failure(description: read == 0 ? "the connection ended" : "no answer") }
            done += read
        }
        return bytes
    }

    /// The next frame of any kind.
    func frame() throws -> Frame {
        let head = try receive(2)
        var length = Int(head[1] & 0x7f)
        if length == 126 { length = try receive(2).reduce(0) { $0 << 8 | Int($1) } }
        if length == 127 { length = try receive(8).reduce(0) { $0 << 8 | Int($1) } }
        let payload = length == 0 ? [] : try receive(length)
        switch head[0] & 0x0f {
        case 1: return .text(String(decoding: payload, as: UTF8.self))
        case 8:
            let code = payload.count < 2 ? 0 : Int(payload[0]) << 8 | Int(payload[1])
            return .close(code, String(decoding: payload.dropFirst(2), as: UTF8.self))
        case 9: return .ping
        case 10: return .pong
        default: return .message(payload)
        }
    }

    /// The next frame that is no ping, with a message's value.
    func answer() throws -> (frame: Frame, value: MessagePackValue?) {
        while true {
            let frame = try frame()
            if frame == .ping { continue }
            if case .message(let bytes) = frame { return (frame, try MessagePackDecoder.decode(bytes)) }
            return (frame, nil)
        }
    }

    /// Asks and waits for the answer.
    func ask(_ value: MessagePackValue) throws -> MessagePackValue? {
        send(value)
        return try answer().value
    }

    /// Asks and expects an error in openpi's form.
    func refusal(_ value: MessagePackValue) throws -> String {
        send(value)
        if case .text(let text) = try answer().frame { return text }
        return ""
    }
}
