import Data
import Foundation
import Serving
import TestSupport
import Testing
import Training

extension ServingTests {
    @Suite(.serialized) struct PolicyTests {
        /// The server's path and the trainer's own give the same error on the same held-out frames.
        @Test func itPredictsWhatTheTrainerMeasured() throws {
            let dataset = try Demonstrations.open(
                root: ServedRun.assets + "/libero-sample", name: "libero_spatial_no_noops")
            let statistics = try dataset.statistics()
            let sampler = try DemonstrationSampler(
                dataset, statistics: statistics, options: SamplingOptions(batchSize: 1, imageSize: 64, holdOutEvery: 4))
            let held = sampler.heldOutEpisodes.flatMap { episode in
                (0..<max(0, dataset.episodes[episode].length - 7)).map { (episode: episode, step: $0) }
            }
            // Stored frames have been through JPEG already.
            let policy = try ServedRun.policy(compresses: false)
            #expect(policy.summary.centreCrops && policy.summary.cameras == ["image", "wrist_image"])
            let count = min(256, held.count)
            var (sum, values) = (0.0, 0)
            for index in 0..<count {
                let (episode, step) = held[index * held.count / count]
                let stored = dataset.episodes[episode]
                let images = try ["image", "wrist_image"].map { name in
                    let camera = try #require(dataset.cameras.firstIndex { $0.name == name })
                    let image = try #require(try dataset.image(episode: episode, step: step, camera: camera))
                    return Observation.Image.pixels(image.pixels[...], height: image.height, width: image.width)
                }
                let predicted = try policy.normalisedActions(
                    for: Observation(
                        images: images, state: Array(stored.proprio[(step * 8)..<(step * 8 + 8)]),
                        instruction: stored.instruction))
                let target = statistics.normaliseAction(stored.actions[(step * 7)..<((step + 8) * 7)])
                for (a, b) in zip(predicted, target) { sum += Double(abs(a - b)) }
                values += predicted.count
            }
            #expect(abs(sum / Double(values) - ServedRun.trained.heldOutL1) < 1e-5)
        }

        @Test func actionsAreInTheUnitsOfTheEnvironment() throws {
            let policy = try ServedRun.policy()
            let normalised = try policy.normalisedActions(for: ServedRun.observation(1))
            let actions = try policy.actions(for: ServedRun.observation(1))
            let statistics = try DatasetStatistics.load(
                contentsOf: policy.summary.checkpoint + "/dataset_statistics.json", dataset: "libero_spatial")
            for (index, value) in actions.enumerated() {
                let d = index % 7
                let n = Double(normalised[index])
                if d == 6 {
                    #expect(value == (n > 0.5 ? -1 : 1))
                } else {
                    let (low, high) = (statistics.action.q01[d], statistics.action.q99[d])
                    #expect(abs(Double(value) - ((n + 1) / 2 * (high - low + 1e-8) + low)) < 1e-6)
                }
            }
        }

        @Test func aCheckpointFolderIsServedAsItsRun() throws {
            let policy = try ServedRun.policy()
            let same = try Policy(checkpoint: policy.summary.checkpoint)
            let observation = ServedRun.observation(2)
            #expect(try same.actions(for: observation) == (try policy.actions(for: observation)))
        }

        /// With the run's cameras and cropping, as its own checkpoint.
        @Test func theAverageOfTheWeightsIsServedToo() throws {
            let path = try CheckpointFolders.model(in: ServedRun.trained.path, isAveraged: true)
            #expect(path.hasSuffix("/checkpoints/step-000004/average"))
            let (average, last) = (try Policy(checkpoint: path), try ServedRun.policy())
            #expect(average.summary.cameras == last.summary.cameras)
            #expect(average.summary.centreCrops == last.summary.centreCrops)
            let observation = ServedRun.observation(2)
            let (one, other) = (try average.actions(for: observation), try last.actions(for: observation))
            #expect(one.count == other.count && one != other)
        }

        @Test func everyWayToSendAnImageIsRead() throws {
            let policy = try ServedRun.policy()
            func read(_ name: String) throws -> MessagePackValue {
                try MessagePackDecoder.decode([UInt8](try Data(contentsOf: BuildFolder.fixture("serving/" + name))))
            }
            let server = try ServedRun.server()
            defer { server.stop() }
            let openPI = try WebSocketClient(port: server.port, path: "/openpi")
            _ = try openPI.answer()
            let expected = try ServedRun.actions(try openPI.ask(try read("openpi.msgpack")))
            #expect(expected.count == policy.summary.chunk * 7)
            for format in ["raw", "png", "jpeg"] {
                let client = try WebSocketClient(port: server.port, path: "/vla-eval")
                let answer = try #require(try client.ask(try read("vla-eval-\(format).msgpack")))
                #expect(answer["seq"] == .integer(7) && answer["type"] == .text("action"))
                let action = try ServedRun.actions(answer["payload"])
                #expect(action.count == 7)
                // The client's own JPEG is another one than ours.
                if format != "jpeg" { #expect(action == Array(expected.prefix(7)), "\(format)") }
            }
        }

        @Test func whatIsNoPolicyIsRefusedInWords() throws {
            func refusal(_ path: String) -> String {
                do {
                    _ = try Policy(checkpoint: path)
                    return ""
                } catch { return String(describing: error) }
            }
            #expect(refusal("/no/such/folder").contains("no such folder"))
            #expect(refusal(ServedRun.assets + "/small-vlm").contains("action_head"))
            let copy = try TemporaryFolder()
            let checkpoint = try ServedRun.policy().summary.checkpoint
            try FileManager.default.copyItem(atPath: checkpoint, toPath: copy.path("model"))
            #expect(refusal(copy.path("model")) == "")
            try FileManager.default.removeItem(atPath: copy.path("model/dataset_statistics.json"))
            #expect(refusal(copy.path("model")).contains("dataset_statistics.json"))
        }
    }
}

/// They share a run and the machine's cores.
@Suite(.serialized) enum ServingTests {}
