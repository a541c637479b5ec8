import Foundation
import Serving
import Testing

extension ServingTests {
    /// Whatever is sent, the server goes on and serves the next client.
    @Suite(.serialized) struct HostileInputTests {
        private func expectAlive(_ server: PolicyServer, at location: SourceLocation = #_sourceLocation) throws {
            let client = try WebSocketClient(port: server.port)
            _ = try client.answer()
            #expect(try client.ask(ServedRun.openPI(1))?["actions"] != nil, sourceLocation: location)
        }

        @Test func wrongObservationsAreRefusedInWords() throws {
            let server = try ServedRun.server()
            defer { server.stop() }
            let client = try WebSocketClient(port: server.port)
            _ = try client.answer()
            func floats(_ values: [Float], _ shape: [Int]) -> MessagePackValue {
                NumPyArray.encode(values, shape: shape, bytesAsKeys: true)
            }
            let png: [UInt8] = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13] + Array("IHDR".utf8)
            let cases: [(key: String, value: MessagePackValue?, words: String)] = [
                ("observation/image", nil, "missing"),
                ("observation/image", .integer(3), "found an integer"),
                ("observation/image", ServedRun.array([], "|u1", [0, 32, 3]), "[0, 32, 3]"),
                ("observation/image", ServedRun.array(ServedRun.pixels(1), "|u1", [3, 24, 32]), "[3, 24, 32]"),
                ("observation/image", floats([1, 2, 3], [1, 1, 3]), "'<f4' [1, 1, 3]"),
                (
                    "observation/image",
                    ServedRun.array([UInt8](repeating: 0, count: 15_000), "|u1", [5_000, 1, 3]), "4096"
                ),
                ("observation/image", .binary([1, 2, 3]), "neither a JPEG nor a PNG"),
                ("observation/image", .binary([0xff, 0xd8, 0xff, 0xe0]), "JPEG"),
                // A header that promises 60000 x 60000 pixels.
                (
                    "observation/wrist_image",
                    .binary((png + [0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60, 8, 2, 0, 0, 0, 1, 2, 3, 4])[...]), "image"
                ),
                ("observation/state", floats([1, 2], [2]), "expected 8 numbers"),
                ("observation/state", floats([Float](repeating: .nan, count: 8), [8]), "not finite"),
                ("observation/state", .list([.number(1e300)] + (0..<7).map { .integer($0) }), "not finite"),
                ("observation/state", .text("here"), "found a text"),
                ("observation/state", .list([.text("0")] + (0..<7).map { .integer($0) }), "found '0' among them"),
                ("prompt", .text(""), "1 to 2000 bytes"),
                ("prompt", .text(String(repeating: "a", count: 2_001)), "found 2001"),
                ("prompt", .integer(1), "found an integer"),
            ]
            for (key, value, words) in cases {
                let text = try client.refusal(ServedRun.openPI(1, [key: value]))
                let name = key.split(separator: "/").last ?? ""
                #expect(text.contains(words) && text.contains(name), "\(key): \(text)")
            }
            #expect(try client.refusal(.list([])).contains("map"))
            #expect(try client.ask(ServedRun.openPI(1))?["actions"] != nil)
        }

        @Test func randomMessagesAreAnsweredWithErrors() throws {
            let server = try ServedRun.server()
            defer { server.stop() }
            var generator = SplitMix(state: 5)
            let client = try WebSocketClient(port: server.port)
            _ = try client.answer()
            var whole = ServedRun.openPI(1).encoded
            for round in 0..<400 {
                let bytes: [UInt8]
                if round % 2 == 0 {
                    bytes = (0..<Int(generator.next() % 300)).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
                } else {
                    // A head that is damaged; the pixels behind it stay.
                    whole[Int(generator.next() % 100)] = UInt8(truncatingIfNeeded: generator.next())
                    bytes = whole
                }
                client.send(frame: 0x82, bytes)
                // An answer to each: actions where the damage did no harm.
                _ = try client.answer()
            }
            try expectAlive(server)
        }

        @Test func randomBytesOnTheWireAreHarmless() throws {
            let server = try ServedRun.server()
            defer { server.stop() }
            var generator = SplitMix(state: 9)
            for round in 0..<60 {
                let client = try WebSocketClient(port: server.port, path: round % 2 == 0 ? nil : "/")
                client.send((0..<2_000).map { _ in UInt8(truncatingIfNeeded: generator.next()) })
            }
            try expectAlive(server)
        }

        struct BrokenFrame: Sendable {
            var first: UInt8
            var count = 3
            var isMasked = true
            /// Of the close frame that answers it.
            var code: Int
            var words: String
        }

        @Test(
            arguments: [
                BrokenFrame(first: 0x82, isMasked: false, code: 1002, words: "masked"),
                BrokenFrame(first: 0x81, code: 1003, words: "MessagePack"),
                BrokenFrame(first: 0x80, code: 1002, words: "continuation"),
                BrokenFrame(first: 0xc2, code: 1002, words: "reserved"),
                BrokenFrame(first: 0x83, code: 1002, words: "unknown"),
                BrokenFrame(first: 0x89, count: 126, code: 1002, words: "control"),
                BrokenFrame(first: 0x82, count: (1 << 20) + 1, code: 1009, words: "--max-message-mb"),
            ])
        func brokenFramesEndTheConnectionInWords(broken: BrokenFrame) throws {
            let server = try ServedRun.server { $0.maximumMessage = 1 << 20 }
            defer { server.stop() }
            let client = try WebSocketClient(port: server.port)
            _ = try client.answer()
            client.send(
                frame: broken.first, [UInt8](repeating: 0xc0, count: broken.count), masked: broken.isMasked)
            guard case .close(let found, let reason) = try client.answer().frame else {
                Issue.record("no close frame")
                return
            }
            #expect(found == broken.code && reason.contains(broken.words), "\(found) \(reason)")
            try expectAlive(server)
        }

        @Test func bytesThatAreNoRequestAreRefusedInWords() throws {
            // Longer than the test: it is not the deadline that ends the connection.
            let server = try ServedRun.server { $0.handshakeTimeout = 3_600 }
            defer { server.stop() }
            let long = "GET / HTTP/1.1\r\nHost: localhost\r\nX: \(String(repeating: "x", count: 70_000))\r\n\r\n"
            for text in ["\u{1}\u{2}\u{3}\u{4}\r\n\r\n", long] {
                let client = try WebSocketClient(port: server.port, path: nil)
                client.send(Array(text.utf8))
                let answer = try client.rest()
                #expect(answer.hasPrefix("HTTP/1.1 400") && answer.contains("expected an HTTP request"), "\(answer)")
            }
            try expectAlive(server)
        }

        @Test func aBurstOfConnectionsIsForgotten() throws {
            let server = try ServedRun.server()
            defer { server.stop() }
            for _ in 0..<3 {
                // More than are taken.
                let idle = try (0..<120).map { _ in try WebSocketClient(port: server.port, path: nil) }
                #expect(idle.count == 120)
            }
            // Until the server has seen that they are gone.
            for _ in 0..<50 where (try? WebSocketClient(port: server.port)) == nil {
                Thread.sleep(forTimeInterval: 0.1)
            }
            try expectAlive(server)
        }

        @Test func hugeMessagesAreNotKept() throws {
            let server = try ServedRun.server { $0.maximumMessage = 1 << 20 }
            defer { server.stop() }
            // A length that nobody could hold.
            let liar = try WebSocketClient(port: server.port)
            _ = try liar.answer()
            liar.send([0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4])
            if case .close(let code, _) = try liar.answer().frame {
                #expect(code == 1009)
            } else {
                Issue.record("open")
            }
            // The same in small pieces.
            let pieces = try WebSocketClient(port: server.port)
            _ = try pieces.answer()
            for index in 0..<20 {
                pieces.send(frame: index == 0 ? 0x02 : 0x00, [UInt8](repeating: 0, count: 60_000))
            }
            if case .close(let code, _) = try pieces.answer().frame {
                #expect(code == 1009)
            } else {
                Issue.record("open")
            }
            // In pieces within the limit it is a message like any other.
            let whole = try WebSocketClient(port: server.port, path: "/openpi")
            _ = try whole.answer()
            let bytes = ServedRun.openPI(1).encoded
            whole.send(frame: 0x02, Array(bytes.prefix(100)))
            whole.send(frame: 0x89, [1])
            whole.send(frame: 0x80, Array(bytes.dropFirst(100)))
            #expect(try whole.answer().frame == .pong)
            #expect(try whole.answer().value?["actions"] != nil)
        }

        @Test func silentConnectionsAreClosed() throws {
            let server = try ServedRun.server {
                $0.idleTimeout = 1
                $0.handshakeTimeout = 1
            }
            defer { server.stop() }
            let start = Date()
            // No request, half a request, and a WebSocket that does not answer pings.
            let (mute, half) = (
                try WebSocketClient(port: server.port, path: nil), try WebSocketClient(port: server.port, path: nil)
            )
            half.send(Array("GET / HTTP/1.1\r\nHost:".utf8))
            let silent = try WebSocketClient(port: server.port)
            var last: WebSocketClient.Frame?
            while let frame = try? silent.frame() { last = frame }
            if case .close(let code, let reason)? = last {
                #expect(code == 1001 && reason.contains("1 seconds"))
            } else {
                Issue.record("not closed: \(String(describing: last))")
            }
            #expect(try mute.rest() == "" && half.rest() == "")
            #expect(Date().timeIntervalSince(start) < 8)
            try expectAlive(server)
        }

        @Test func clientsThatVanishAreForgotten() throws {
            let server = try ServedRun.server { $0.maximumClients = 4 }
            defer { server.stop() }
            for _ in 0..<20 {
                let client = try WebSocketClient(port: server.port, path: "/openpi")
                _ = try client.answer()
                client.send(ServedRun.openPI(1))
                client.send(ServedRun.openPI(2))
                _ = try client.answer()
            }
            try expectAlive(server)
        }
    }
}
