import Formats
import Foundation
import Serving
import TestSupport
import Testing

extension ServingTests {
    @Suite(.serialized) struct ServerTests {
        @Test func openPIClientsGetChunks() throws {
            let server = try ServedRun.server()
            defer { server.stop() }
            let client = try WebSocketClient(port: server.port)
            let metadata = try #require(try client.answer().value)
            #expect(metadata["server"] == .text("craft") && metadata["action_horizon"] == .integer(8))
            let answer = try #require(try client.ask(ServedRun.openPI(1)))
            #expect(answer["server_timing"]?["infer_ms"]?.double ?? 0 > 0)
            #expect(
                try ServedRun.actions(answer) == (try ServedRun.policy().actions(for: ServedRun.observation(1))))
        }

        @Test func vlaEvalClientsGetOneActionAtATime() throws {
            let server = try ServedRun.server { $0.chunkSteps = 3 }
            defer { server.stop() }
            let policy = try ServedRun.policy()
            let client = try WebSocketClient(port: server.port)
            // What the server says first is the answer to the hello.
            client.send(ServedRun.message("hello", .map([]), sequence: 1))
            #expect(try client.answer().value?["type"] == .text("hello"))
            client.send(ServedRun.message("episode_start", .map([]), sequence: 2))
            func act(_ seed: Int, _ sequence: Int) throws -> [Float] {
                let answer = try #require(try client.ask(ServedRun.vlaEval(seed, sequence: sequence)))
                #expect(answer["type"] == .text("action") && answer["seq"] == .integer(Int64(sequence)))
                return try ServedRun.actions(answer["payload"])
            }
            let (one, two) = (
                try policy.actions(for: ServedRun.observation(1)), try policy.actions(for: ServedRun.observation(2))
            )
            #expect(try act(1, 3) == Array(one[0..<7]))
            // The chunk goes on, whatever is seen meanwhile, for three steps.
            #expect(try act(2, 4) == Array(one[7..<14]))
            // What is wrong with an observation is said there too, and costs no action.
            let wrong = try client.ask(ServedRun.message("observation", .map([]), sequence: 50))
            #expect(wrong?["type"] == .text("error") && wrong?["seq"] == .integer(50))
            #expect(try act(2, 5) == Array(one[14..<21]))
            #expect(try act(2, 6) == Array(two[0..<7]))
            client.send(ServedRun.message("episode_end", .map([]), sequence: 7))
            client.send(ServedRun.message("episode_start", .map([]), sequence: 8))
            #expect(try act(1, 9) == Array(one[0..<7]))
            // A second hello on the connection is answered.
            let hello = try client.ask(ServedRun.message("hello", .map([]), sequence: 10))
            #expect(hello?["type"] == .text("hello") && hello?["seq"] == .integer(10))
        }

        @Test func theServerIsSilentFirstWhereVLAEvalIsAskedFor() throws {
            let server = try ServedRun.server { $0.served = .vlaEval }
            defer { server.stop() }
            for path in ["/", "/vla-eval"] {
                let client = try WebSocketClient(port: server.port, path: path)
                let hello = try client.ask(ServedRun.message("hello", .map([]), sequence: 42))
                #expect(hello?["seq"] == .integer(42))
                let error = try client.ask(ServedRun.message("dance", .map([]), sequence: 43))
                #expect(error?["type"] == .text("error") && error?["seq"] == .integer(43))
            }
        }

        @Test func manyObservationsInARowAreAnsweredInOrder() throws {
            let server = try ServedRun.server()
            defer { server.stop() }
            let policy = try ServedRun.policy()
            let client = try WebSocketClient(port: server.port, path: "/vla-eval")
            for sequence in 0..<9 { client.send(ServedRun.vlaEval(sequence == 0 ? 1 : 2, sequence: sequence)) }
            let chunks = try [1, 2].map { try policy.actions(for: ServedRun.observation($0)) }
            for sequence in 0..<9 {
                let answer = try client.answer().value
                #expect(answer?["seq"] == .integer(Int64(sequence)))
                let expected = sequence < 8 ? chunks[0][(7 * sequence)..<(7 * sequence + 7)] : chunks[1][0..<7]
                #expect(try ServedRun.actions(answer?["payload"]) == Array(expected))
            }
        }

        @Test func severalClientsAreServed() async throws {
            let server = try ServedRun.server()
            defer { server.stop() }
            let port = server.port
            let policy = try ServedRun.policy()
            let expected = try (0..<4).map { try policy.actions(for: ServedRun.observation($0)) }
            try await withThrowingTaskGroup(of: [[Float]].self) { group in
                for seed in 0..<4 {
                    group.addTask {
                        let client = try WebSocketClient(port: port)
                        _ = try client.answer()
                        return try (0..<5).map { _ in try ServedRun.actions(try client.ask(ServedRun.openPI(seed))) }
                            + [expected[seed]]
                    }
                }
                for try await answers in group {
                    #expect(answers.dropLast().allSatisfy { $0 == answers.last })
                }
            }
        }

        @Test func aFullQueueIsSaidSo() throws {
            let server = try ServedRun.server { $0.maximumQueue = 1 }
            defer { server.stop() }
            let client = try WebSocketClient(port: server.port, path: "/openpi")
            _ = try client.answer()
            for _ in 0..<6 { client.send(ServedRun.openPI(1)) }
            var (answers, refusals) = (0, 0)
            for _ in 0..<6 {
                let (frame, value) = try client.answer()
                if value?["actions"] != nil { answers += 1 }
                if case .text(let text) = frame, text.contains("busy") { refusals += 1 }
            }
            #expect(answers >= 1 && refusals >= 1 && answers + refusals == 6)
        }

        @Test func clientsBeyondTheLimitAreRefused() throws {
            let server = try ServedRun.server { $0.maximumClients = 2 }
            defer { server.stop() }
            let clients = try (0..<2).map { _ in try WebSocketClient(port: server.port) }
            for client in clients { _ = try client.answer() }
            let error = try #require(throws: WebSocketClient.Failure.self) { try WebSocketClient(port: server.port) }
            #expect(error.description.contains("503") && error.description.contains("--max-clients"), "\(error)")
            #expect(try clients[0].ask(ServedRun.openPI(1)) != nil)
        }

        @Test func thePagesAreThere() throws {
            let server = try ServedRun.server()
            defer { server.stop() }
            func get(_ path: String, _ method: String = "GET") throws -> (head: String, body: String) {
                let client = try WebSocketClient(port: server.port, path: nil)
                try client.request("\(method) \(path) HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return (client.response, try client.rest())
            }
            let health = try get("/health")
            #expect(health.head.hasPrefix("HTTP/1.1 200") && health.head.contains("application/json"))
            #expect(health.body.contains("\"status\":\"ok\""))
            #expect(try get("/config").body.contains("\"action_horizon\":8"))
            #expect(try get("/").body.contains("<h1>craft serve</h1>"))
            #expect(try get("/nothing").head.hasPrefix("HTTP/1.1 404"))
            #expect(try get("/health", "POST").head.hasPrefix("HTTP/1.1 405"))
            let wrongPath = #expect(throws: WebSocketClient.Failure.self) {
                try WebSocketClient(port: server.port, path: "/nothing")
            }
            #expect(wrongPath?.description.contains("404") == true)
        }

        @Test func stoppingAnswersWhatIsAtHandAndSaysGoodbye() throws {
            let server = try ServedRun.server()
            let client = try WebSocketClient(port: server.port, path: "/openpi")
            _ = try client.answer()
            client.send(ServedRun.openPI(1))
            // Sent on its own so that the observation is with the policy when the server is told to stop.
            Thread.sleep(forTimeInterval: 0.01)
            let stopped = DispatchSemaphore(value: 0)
            Thread.detachNewThread {
                server.stop()
                stopped.signal()
            }
            var frames: [WebSocketClient.Frame] = []
            while let frame = try? client.frame() {
                frames.append(frame)
                if case .close = frame { client.send(frame: 0x88, [0x03, 0xe9]) }
            }
            #expect(stopped.wait(timeout: .now() + 5) == .success)
            #expect(frames.count == 2, "\(frames)")
            if case .close(let code, let reason)? = frames.last {
                #expect(code == 1001 && reason.contains("stopping"))
            } else {
                Issue.record("no close frame: \(frames)")
            }
        }

        @Test func theCommandSaysWhereItListensAndStopsOnSIGTERM() throws {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: BuildFolder.craft)
            process.arguments = ["serve", "--checkpoint", ServedRun.trained.path, "--port", "0"]
            let output = Pipe()
            process.standardOutput = output
            try process.run()
            var line = ""
            while !line.hasSuffix("\n"), let byte = try output.fileHandleForReading.read(upToCount: 1), !byte.isEmpty {
                line += String(decoding: byte, as: UTF8.self)
            }
            let port = try #require(
                line.hasPrefix("listening on ws://127.0.0.1:")
                    ? Int(line.dropLast().split(separator: ":").last ?? "") : nil, "\(line)")
            let client = try WebSocketClient(port: port)
            _ = try client.answer()
            #expect(try client.ask(ServedRun.openPI(1)) != nil)
            process.terminate()
            process.waitUntilExit()
            #expect(process.terminationStatus == 0 && process.terminationReason == .exit)
        }

        @Test(
            arguments: [
                (["--checkpoint", "/no/such"], "no such folder"),
                (["--checkpoint", "RUN", "--port", "70000"], "--port"),
                (["--checkpoint", "RUN", "--chunk-steps", "9"], "--chunk-steps is 9; expected 1 to 8"),
                (["--checkpoint", "RUN", "--protocol", "grpc"], "'openpi'"),
                (["--checkpoint", "RUN", "--host", "no such host"], "there is no host of this name"),
            ] as [([String], String)])
        func wrongOptionsAreRefusedInWords(arguments: [String], words: String) throws {
            let filled = arguments.map { $0 == "RUN" ? ServedRun.trained.path : $0 }
            let result = try Command.run([BuildFolder.craft, "serve"] + filled)
            #expect(result.status == 2 && result.standardError.contains(words), "\(result.output)")
        }

        @Test func aPortThatIsTakenIsSaidSo() throws {
            let server = try ServedRun.server()
            defer { server.stop() }
            let error = #expect(throws: ServingError.self) { try ServedRun.server { $0.port = server.port } }
            #expect(error?.code == .unavailable)
            let words = error?.description ?? ""
            #expect(words.hasSuffix("the address is in use already; --port 0 takes any free port"), "\(words)")
        }
    }
}
