import Formats
import Foundation
import Models
import Tensors
import TestSupport
import Testing

@Suite struct MergeTests {
    private func merge(_ path: String, _ change: (inout ModelExporter.Options) -> Void = { _ in }) throws -> (
        out: String, report: ModelExporter.Report
    ) {
        var options = ModelExporter.Options()
        options.merges = true
        change(&options)
        let out = path + "-merged"
        let exporter = try ModelExporter(
            try ModelFolder(path: path), options: options, parallel: Parallel(threads: 2))
        return (out, try exporter.write(to: out))
    }

    @Test(arguments: ["two-towers-qwen2-base-lora", "two-towers-qwen2-pro-lora", "one-tower-llama-base-lora"])
    func mergedAndUnmergedAgree(_ name: String) throws {
        let fixture = try ModelFixture(name)
        let (out, report) = try merge(fixture.path)
        #expect(try #require(report.difference) < 2e-5)
        #expect(report.mergedModules > 30)
        let merged = try ModelFolder(path: out)
        #expect(merged.adapter == nil && ModelInfo(merged).missing == [] && ModelInfo(merged).unexpected == [])
        let again = #expect(throws: ModelError.self) { try merge(fixture.path) }
        #expect(again?.code == .exists)
    }

    @Test func trainedQueriesAreIncluded() throws {
        let fixture = try ModelFixture("two-towers-qwen2-base-lora")
        let shape = try #require(try ModelFolder(path: fixture.path).layout["action_queries.weight"]?.shape)
        let trained = (0..<shape.reduce(1, *)).map { Float($0) / 8 }
        var added = false
        try fixture.rewrite("lora_adapter/adapter_model.safetensors") { file, entry in
            if added { return .init(entry.name, copying: entry, of: file) }
            added = true
            return .init("base_model.model.action_queries.weight", shape: shape, floats: trained)
        }
        // The tensor that made room is half of a module: take its other half out too.
        var names: Set<String> = []
        try fixture.rewrite("lora_adapter/adapter_model.safetensors") { file, entry in
            names.insert(entry.name)
            let other = entry.name.replacingOccurrences(of: "lora_B", with: "lora_A")
            return file.entry(other) == nil ? nil : .init(entry.name, copying: entry, of: file)
        }
        let (out, _) = try merge(fixture.path)
        #expect(try SafetensorsFile(path: out + "/model.safetensors").floats("action_queries.weight") == trained)
    }

    @Test func withoutQueriesThereIsNoMerge() throws {
        let fixture = try ModelFixture("two-towers-qwen2-base-lora")
        try fixture.rewrite("model.safetensors") { file, entry in
            entry.name == "action_queries.weight" ? nil : .init(entry.name, copying: entry, of: file)
        }
        let error = #expect(throws: ModelError.self) { try merge(fixture.path) }
        #expect(error?.code == .missing)
        #expect(error?.description.contains("action_queries.weight") == true)
    }

    @Test func anExportedAdapterIsTheSame() throws {
        let fixture = try ModelFixture("two-towers-qwen2-pro-lora")
        let out = fixture.path + "-exported"
        _ = try ModelExporter(
            try ModelFolder(path: fixture.path), options: .init(), parallel: Parallel(threads: 1)
        ).write(to: out)
        for name in [
            "model.safetensors", "lora_adapter/adapter_model.safetensors", "action_head--checkpoint.safetensors",
        ] {
            let (one, two) = (
                try SafetensorsFile(path: fixture.file(name)), try SafetensorsFile(path: out + "/" + name)
            )
            for tensor in one.names { #expect(try one.floats(tensor) == two.floats(tensor), "\(name) \(tensor)") }
        }
    }

    @Test func randomModelsHaveTheWholeLayout() throws {
        let fixture = try ModelFixture("two-towers-qwen2-pro")
        let out = fixture.path + "-random"
        let count = try RandomModel.write(
            config: fixture.file("config.json"), proPolicy: nil, to: out, storage: .bf16, seed: 3)
        let folder = try ModelFolder(path: out)
        let info = ModelInfo(folder)
        #expect(info.missing + info.missingUnused + info.unexpected + info.mismatched == [])
        #expect(count.tensors == folder.backbone?.names.count)
        #expect(folder.backbone?.entry("projector.fc1.weight")?.dtype == .bf16)
    }
}
