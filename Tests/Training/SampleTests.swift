import Formats
import Foundation
import Models
import PluginRuntime
import TestSupport
import Testing
import Training

/// Which samples a batch has, and what the user gave for them.
@Suite struct SampleTests {
    /// A safetensors file of `ids` and `values`, one number each.
    private func write(_ samples: [(id: Int64, value: Float)], to path: String) throws {
        let count = samples.count
        let header =
            "{\"ids\":{\"dtype\":\"I64\",\"shape\":[\(count)],\"data_offsets\":[0,\(8 * count)]},"
            + "\"values\":{\"dtype\":\"F32\",\"shape\":[\(count),1],\"data_offsets\":[\(8 * count),\(12 * count)]}}"
        var bytes = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) }
        bytes += Data(header.utf8)
        for sample in samples { bytes += withUnsafeBytes(of: sample.id.littleEndian) { Data($0) } }
        for sample in samples { bytes += withUnsafeBytes(of: sample.value.bitPattern.littleEndian) { Data($0) } }
        try bytes.write(to: URL(fileURLWithPath: path))
    }

    /// Of every sample of the shipped demonstrations, a number that tells which it is.
    private func all() throws -> [(id: Int64, value: Float)] {
        struct File: Decodable {
            struct Episode: Decodable { var length: Int }
            var episodes: [Episode]
        }
        let data = try Data(contentsOf: BuildFolder.fixture("data/libero-sample.json"))
        return try JSONDecoder().decode(File.self, from: data).episodes.enumerated().flatMap { episode, row in
            (0..<row.length).map { step in (Int64(episode * 1_000_000 + step), Float(episode * 1000 + step)) }
        }
    }

    private func settings(_ plugins: String, sides: [SideSetting]) throws -> RunSettings {
        var settings = RunSettings()
        let assets = BuildFolder.repository.appendingPathComponent("Assets").path
        (settings.model, settings.data) = (assets + "/small-vlm", assets + "/libero-sample")
        settings.plugins = try PluginRequest.parseList(plugins)
        settings.pluginPath = [BuildFolder.url.path]
        (settings.steps, settings.batchSize, settings.holdOutEvery, settings.sides) = (3, 4, 0, sides)
        return settings
    }

    private func plugin(_ plugins: CompiledPlugin) throws -> String {
        try plugins.build(
            "Samples",
            """
            #define IN(X) X(i64_array, ids, "sample_id", "[b]") X(i64_array, tasks, "task_id", "[b]") \\
                X(f32_array, side, "side.number", "[b,d]")
            #define OUT(X) X(f64, wrong, "metric.wrong", "") X(f64, tasks_seen, "metric.tasks", "")
            CRAFT_HOOK(look, IN, OUT) {
                *wrong = *tasks_seen = 0;
                for (int64_t i = 0; i < craft_count(ids); i++) {
                    int64_t id = craft_read_i64(ids)[i], task = craft_read_i64(tasks)[i];
                    float number = (float)(id / 1000000 * 1000 + id % 1000000);
                    if (craft_read_f32(side)[i] != number || task < 0 || task > 9) *wrong += 1;
                    *tasks_seen += (double)task;
                }
                return CRAFT_OK;
            }
            """, table: "CRAFT_HOOK_ENTRY(\"pre_backward\", look)")
    }

    @Test func valuesBySampleReachPlugins() throws {
        let folder = try TemporaryFolder()
        let compiled = try CompiledPlugin()
        try write(try all(), to: folder.path("side.safetensors"))
        let sides = [SideSetting(name: "number", path: folder.path("side.safetensors"))]
        let settings = try settings("BaselineL1,\(plugin(compiled))", sides: sides)
        let metrics = try Trainer(settings: settings, at: folder.path("run")).train().lastMetrics
        #expect(metrics["wrong"] == 0)
        #expect(metrics["tasks"] != nil)
        #expect(try RunSettings.read(folder.path("run") + "/config.json").sides == sides)
    }

    @Test func refusesWhatIsMissing() throws {
        let folder = try TemporaryFolder()
        let compiled = try CompiledPlugin()
        let list = "BaselineL1,\(try plugin(compiled))"
        let absent = try #require(throws: CompositionError.self) {
            try Trainer(settings: settings(list, sides: []), at: folder.path("absent"))
        }
        #expect("\(absent)".contains("add `sides` number=FILE"), "\(absent)")
        let path = folder.path("side.safetensors")
        func error(_ samples: [(id: Int64, value: Float)]) throws -> TrainingError? {
            try write(samples, to: path)
            let sides = [SideSetting(name: "number", path: path)]
            let run = folder.path("run-\(samples.count)")
            return #expect(throws: TrainingError.self) {
                try Trainer(settings: settings(list, sides: sides), at: run).train()
            }
        }
        #expect(try error([(1, 1)])?.code == .missing)
        #expect(try error([(1, 1), (1, 2)])?.description.contains("has the sample 1 twice") == true)
        #expect(try error([(1, 1), (2, 2), (3, .nan)])?.code == .malformed)
        for text in ["number", "=x", "a.b=x", "a="] {
            #expect(throws: TrainingError.self) { try SideSetting.parse([text]) }
        }
    }
}
