import Data
import Foundation
import PluginRuntime
import Serving
import TestSupport
import Training

/// A short run on the shipped model and data, trained once for all tests, and its policy.
enum ServedRun {
    struct Trained: Sendable {
        let path: String
        let heldOutL1: Double
    }

    /// Kept as long as the process lives, then removed with the system's temporary files.
    static let trained: Trained = {
        do {
            var settings = RunSettings()
            settings.model = assets + "/small-vlm"
            settings.data = assets + "/libero-sample"
            settings.plugins = [PluginRequest(name: "BaselineL1")]
            settings.pluginPath = [BuildFolder.url.path]
            (settings.steps, settings.batchSize, settings.holdOutEvery) = (4, 2, 4)
            settings.average = AverageSettings(decay: 0.5)
            let path = NSTemporaryDirectory() + "/craft-served-\(UUID().uuidString)"
            let summary = try Trainer(settings: settings, at: path).train()
            return Trained(path: path, heldOutL1: summary.evaluations["after.held_out_action_l1"] ?? .nan)
        } catch {
            fatalError("the run to serve could not be trained: \(error)")
        }
    }()

    static let assets = BuildFolder.repository.appendingPathComponent("Assets").path

    static func policy(compresses: Bool = true) throws -> Policy {
        var options = PolicyOptions()
        options.compresses = compresses
        return try Policy(checkpoint: trained.path, options: options)
    }

    static func server(_ change: (inout ServerOptions) -> Void = { _ in }) throws -> PolicyServer {
        var options = ServerOptions()
        options.port = 0
        change(&options)
        return try PolicyServer(checkpoint: trained.path, options: options)
    }

    // MARK: - Observations

    static let instruction = "pick up the black bowl"
    static let state: [Float] = [-0.1, 0.2, 0.9, 3, 0.1, -0.1, 0.04, -0.04]

    /// [24, 32, 3] of smooth colours.
    static func pixels(_ seed: Int) -> [UInt8] {
        (0..<(24 * 32 * 3)).map { UInt8(truncatingIfNeeded: ($0 / 96) * (seed + 3) + $0 % 96 + 40 * seed) }
    }

    static func observation(_ seed: Int) -> Observation {
        Observation(
            images: [seed, seed + 50].map { .pixels(pixels($0)[...], height: 24, width: 32) }, state: state,
            instruction: instruction)
    }

    static func array(_ bytes: [UInt8], _ dtype: String, _ shape: [Int], bytesAsKeys: Bool = true) -> MessagePackValue {
        func key(_ name: String) -> MessagePackValue { bytesAsKeys ? .binary(Array(name.utf8)[...]) : .text(name) }
        return .map([
            .init(key("__ndarray__"), .boolean(true)), .init(key("data"), .binary(bytes[...])),
            .init(key("dtype"), .text(dtype)), .init(key("shape"), .list(shape.map { .integer(Int64($0)) })),
        ])
    }

    static func image(_ seed: Int) -> MessagePackValue { array(pixels(seed), "|u1", [24, 32, 3]) }

    static func openPI(_ seed: Int, _ changed: [String: MessagePackValue?] = [:]) -> MessagePackValue {
        var fields: [String: MessagePackValue?] = [
            "observation/image": image(seed), "observation/wrist_image": image(seed + 50),
            "observation/state": NumPyArray.encode(state, shape: [8], bytesAsKeys: true), "prompt": .text(instruction),
        ]
        fields.merge(changed) { $1 }
        return .map(fields.sorted { $0.key < $1.key }.compactMap { key, value in value.map { .init(.text(key), $0) } })
    }

    static func vlaEval(_ seed: Int, sequence: Int) -> MessagePackValue {
        message(
            "observation",
            .object([
                "images": .object(["agentview": image(seed), "wrist": image(seed + 50)]),
                "states": NumPyArray.encode(state, shape: [8], bytesAsKeys: false),
                "task_description": .text(instruction),
            ]), sequence: sequence)
    }

    static func message(_ type: String, _ payload: MessagePackValue, sequence: Int) -> MessagePackValue {
        .object([
            "type": .text(type), "payload": payload, "seq": .integer(Int64(sequence)), "timestamp": .number(1),
        ])
    }

    /// The numbers of `"actions"` in an answer.
    static func actions(_ answer: MessagePackValue?) throws -> [Float] {
        guard let value = answer?["actions"], let array = try NumPyArray(value, key: "actions") else { return [] }
        return array.doubles.map { Float($0) }
    }
}
