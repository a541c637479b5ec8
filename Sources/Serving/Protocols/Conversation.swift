internal import Dispatch
internal import Formats

/// What is said on one connection: which protocol it is, and the actions that are still to be handed out.
final class Conversation {
    enum Reply {
        case message(MessagePackValue)
        /// openpi's form of an error.
        case text(String)
    }

    private let state: ServerState
    private let owner: ObjectIdentifier
    private let send: (Reply) -> Void
    private let reader: ObservationReader
    private let messages: ServerMessages
    /// `auto` until the client's first message.
    private var served: ServedProtocol
    /// Whether the first message stood for the answer to a hello.
    private var hasGreeted = false
    /// vla-eval: actions of the present chunk that are still to be handed out, first one last.
    private var remaining: [[Float]] = []
    /// vla-eval: counts the client's episodes, so that a chunk of an earlier one is not used in the next.
    private var episode = 0
    /// Requests that are with the queue.
    private var pending = 0

    init(state: ServerState, served: ServedProtocol, owner: ObjectIdentifier, send: @escaping (Reply) -> Void) {
        self.state = state
        self.served = served
        self.owner = owner
        self.send = send
        reader = ObservationReader(summary: state.summary)
        messages = ServerMessages(summary: state.summary)
    }

    /// What the server says before the client does.
    func start() {
        if served == .vlaEval { return }
        hasGreeted = served == .auto
        send(.message(messages.metadata(greetsVLAEval: served == .auto)))
    }

    /// - Parameter time: when the message was complete, nanoseconds of the system's uptime.
    func receive(_ bytes: [UInt8], at time: UInt64) {
        let message: MessagePackValue
        do throws(ServingError) {
            message = try MessagePackDecoder.decode(bytes)
        } catch {
            return fail(error, sequence: .integer(0))
        }
        if served == .auto {
            served = message["type"]?.text != nil && message["payload"] != nil ? .vlaEval : .openPI
        }
        if served == .vlaEval {
            receiveVLAEval(message, at: time)
        } else {
            receiveOpenPI(message, at: time)
        }
    }

    private func fail(_ error: ServingError, sequence: MessagePackValue) {
        state.statistics.errors += 1
        if served == .vlaEval {
            send(
                .message(
                    messages.vlaEval("error", .object(["error": .text(error.description)]), sequence: sequence)))
        } else {
            send(.text(error.description))
        }
    }

    // MARK: - openpi

    private func receiveOpenPI(_ message: MessagePackValue, at time: UInt64) {
        let observation: Observation
        do throws(ServingError) {
            observation = try reader.openPI(message)
        } catch {
            return fail(error, sequence: .null)
        }
        let begin = { observation as Observation? }
        ask(at: time, begin: begin) { [weak self] result in
            guard let self else { return }
            switch result {
            case .failure(let error): fail(error, sequence: .null)
            case .success(let answer):
                let total = Self.milliseconds(since: time)
                state.statistics.actions += 1
                send(
                    .message(
                        messages.openPIActions(
                            answer.actions, inference: answer.inference, wait: max(0, total - answer.inference))))
            }
        }
    }

    // MARK: - vla-eval

    private func receiveVLAEval(_ message: MessagePackValue, at time: UInt64) {
        let sequence = message["seq"] ?? .integer(0)
        guard let type = message["type"]?.text, let payload = message["payload"] else {
            let found = message["type"].map { "\(message.kind), 'type' being \($0.description)" } ?? message.kind
            return fail(
                ServingError(.malformed, "expected a map with a text as 'type' and with 'payload'; found \(found)"),
                sequence: .integer(0))
        }
        guard case .integer = sequence else {
            return fail(
                ServingError(.malformed, "'seq' must be an integer below 2^63; found \(sequence.description)"),
                sequence: .integer(0))
        }
        switch type {
        case "hello":
            if hasGreeted {
                hasGreeted = false
            } else {
                send(.message(messages.hello(sequence: sequence)))
            }
        case "episode_start", "episode_end":
            remaining = []
            episode += 1
        case "observation": observeVLAEval(payload, sequence, at: time)
        case "error": break
        default:
            fail(
                ServingError(
                    .malformed,
                    "'type' is '\(type.prefix(32))'; expected hello, episode_start, observation, episode_end or error"),
                sequence: sequence)
        }
    }

    private func observeVLAEval(_ payload: MessagePackValue, _ sequence: MessagePackValue, at time: UInt64) {
        let asked = episode
        let observation: Observation
        do throws(ServingError) {
            // Also where the chunk goes on: a client's mistake is not to show at every eighth step only.
            observation = try reader.vlaEval(payload)
        } catch {
            return fail(error, sequence: sequence)
        }
        if pending == 0, let action = remaining.popLast() { return answer(action, sequence) }
        let begin = { [weak self] () -> Observation? in
            // The observation came while an earlier one was with the policy; its chunk may hold the action.
            guard let self, asked == episode, let action = remaining.popLast() else { return observation }
            pending -= 1
            answer(action, sequence)
            return nil
        }
        ask(at: time, begin: begin) { [weak self] result in
            guard let self else { return }
            switch result {
            case .failure(let error): fail(error, sequence: sequence)
            case .success(let answer):
                let width = state.summary.actionDim
                let steps = min(state.options.chunkSteps ?? state.summary.chunk, state.summary.chunk)
                let chunk = (0..<steps).map { Array(answer.actions[($0 * width)..<(($0 + 1) * width)]) }
                if asked == episode { remaining = chunk.dropFirst().reversed() }
                self.answer(chunk[0], sequence)
            }
        }
    }

    private func answer(_ action: [Float], _ sequence: MessagePackValue) {
        state.statistics.actions += 1
        send(.message(messages.vlaEvalAction(action, sequence: sequence)))
    }

    // MARK: - The policy

    private func ask(
        at time: UInt64, begin: @escaping () -> Observation?,
        _ finish: @escaping (Result<InferenceQueue.Answer, ServingError>) -> Void
    ) {
        pending += 1
        state.queue.submit(
            .init(owner: owner, begin: begin) { [weak self] result in
                self?.pending -= 1
                finish(result)
                if let self, case .success = result {
                    state.statistics.record(latency: Self.milliseconds(since: time))
                }
            })
    }

    private static func milliseconds(since time: UInt64) -> Double {
        Double(DispatchTime.now().uptimeNanoseconds - time) / 1e6
    }
}
