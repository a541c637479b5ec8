internal import Data
internal import Foundation

/// The messages that the server sends.
struct ServerMessages {
    let summary: Policy.Summary

    /// What an openpi client is told when it connects; with `greetsVLAEval` also a vla-eval hello.
    func metadata(greetsVLAEval: Bool) -> MessagePackValue {
        var entries: [MessagePackValue.Entry] = [
            .init(.text("server"), .text("craft")),
            .init(.text("checkpoint"), .text(summary.checkpoint)),
            .init(.text("checkpoint_id"), .text(summary.identity)),
            .init(.text("action_horizon"), .integer(Int64(summary.chunk))),
            .init(.text("action_dim"), .integer(Int64(summary.actionDim))),
            .init(.text("state_dim"), .integer(Int64(summary.stateDim))),
            .init(.text("image_keys"), .list(summary.cameras.map { .text("observation/\($0)") })),
            .init(.text("image_size"), .integer(Int64(summary.imageSize))),
            .init(.text("state_key"), .text("observation/state")),
            .init(.text("prompt_key"), .text("prompt")),
            .init(.text("gripper"), .text(summary.gripper == .libero ? "binary_close_positive" : "as_stored")),
        ]
        if greetsVLAEval, case .map(let hello) = hello(sequence: .integer(0)) { entries += hello }
        return .map(entries)
    }

    /// openpi's answer: actions [chunk, actionDim] float32.
    func openPIActions(_ actions: [Float], inference: Double, wait: Double) -> MessagePackValue {
        .object([
            "actions": NumPyArray.encode(
                actions, shape: [summary.chunk, summary.actionDim], bytesAsKeys: true),
            "server_timing": .object(["infer_ms": .number(inference), "queue_ms": .number(wait)]),
        ])
    }

    // MARK: - vla-eval

    func vlaEval(_ type: String, _ payload: MessagePackValue, sequence: MessagePackValue) -> MessagePackValue {
        .object([
            "type": .text(type), "payload": payload, "seq": sequence,
            "timestamp": .number(Date().timeIntervalSince1970),
        ])
    }

    /// One action, [actionDim] float32.
    func vlaEvalAction(_ action: [Float], sequence: MessagePackValue) -> MessagePackValue {
        vlaEval(
            "action",
            .object(["actions": NumPyArray.encode(action, shape: [action.count], bytesAsKeys: false)]),
            sequence: sequence)
    }

    /// The answer to a hello. The observation parameters are what vla-eval's own server of this model family asks for:
    /// fixtures placed by seed 0, and rotations not folded to one hemisphere, as in the training data.
    func hello(sequence: MessagePackValue) -> MessagePackValue {
        func spec(_ name: String, _ dims: Int, _ format: String, _ range: (Double, Double)? = nil) -> MessagePackValue {
            var entries: [MessagePackValue.Entry] = [
                .init(.text("name"), .text(name)), .init(.text("dims"), .integer(Int64(dims))),
                .init(.text("format"), .text(format)),
            ]
            if let range { entries.append(.init(.text("range"), .list([.number(range.0), .number(range.1)]))) }
            return .map(entries)
        }
        let images = summary.cameras.map {
            MessagePackValue.Entry(.text(ObservationReader.vlaEvalName(of: $0)), spec("image", 0, "rgb_hwc_uint8"))
        }
        let payload = MessagePackValue.object([
            "harness_version": .text("0.8.0"), "protocol_version": .integer(1), "model_server": .text("craft"),
            "capabilities": .map([]),
            "observation_params": .object([
                "send_wrist_image": .boolean(summary.cameras.contains("wrist_image")), "send_state": .boolean(true),
                "env_seed": .integer(0), "quat_no_antipodal": .boolean(true),
            ]),
            "action_spec": .object([
                "position": spec("position", 3, "delta_xyz", (-1, 1)),
                "rotation": spec("rotation", 3, "axis_angle", (-3.15, 3.15)),
                "gripper": spec("gripper", 1, "binary_close_positive", (-1, 1)),
            ]),
            "observation_spec": .map(
                images + [
                    .init(.text("state"), spec("state", summary.stateDim, "eef_pos3_axisangle3_gripper2")),
                    .init(.text("language"), spec("language", 0, "language")),
                ]),
        ])
        return vlaEval("hello", payload, sequence: sequence)
    }
}
