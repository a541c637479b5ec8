import Formats
import Foundation
import Models
import Tensors
import TestSupport
import Testing
import Training

/// What craft writes, read with the packages that its users read it with: tensorboard and safetensors.
@Suite("outputs: read by tensorboard and safetensors")
struct OutputsPythonTests {
    private struct Report: Decodable {
        struct Tensor: Decodable, Equatable {
            var dtype: String
            var shape: [Int]
            var sum: Double?
        }
        var scalars: [String: [[Double?]]]
        var tensors: [String: [String: Tensor]]
    }

    private func report(on run: String) throws -> Report {
        let python = BuildFolder.repository.appendingPathComponent(".venv/bin/python")
        try #require(
            FileManager.default.isExecutableFile(atPath: python.path),
            "no \(python.path); run scripts/install.sh --tests, or make test, once")
        let process = Process()
        process.executableURL = python
        process.arguments = [BuildFolder.repository.appendingPathComponent("scripts/check_outputs.py").path, run]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let data = try output.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
        return try JSONDecoder().decode(Report.self, from: data)
    }

    @Test("event files, a resume among them, and weights come back as they were written")
    func readBack() throws {
        let folder = try TemporaryFolder()
        let run = try RunDirectory.create(at: folder.path("run"))
        do {
            let writer = try TensorBoardWriter(folder: run.tensorboardPath)
            for step in 1...5 {
                try writer.append(
                    step: step,
                    scalars: [
                        (MetricNames.display("loss.action"), 1 / Double(step)),
                        (MetricNames.display("mine"), step == 2 ? .nan : 0.5),
                    ])
            }
        }
        // Resumed from the checkpoint of step 3: steps 4 and 5 of the first file are history that did not happen.
        let writer = try TensorBoardWriter(folder: run.tensorboardPath, resumingAt: 4)
        for step in [4, 5, 1_000_000] { try writer.append(step: step, scalars: [("VLA Train/Loss", -Double(step))]) }

        let values: [Float] = (0..<100).map { Float($0) / 4 }
        try run.checkpoints.write(step: 3) { folder in
            try SafetensorsWriter.write(
                [
                    .init("f32", shape: [10, 10], floats: values), .init("f16", shape: [100], floats: values, as: .f16),
                    .init("bf16", shape: [2, 50], floats: (0..<100).map { Float($0) }, as: .bf16),
                    .init("ids", shape: [3], integers: [-1, 2, 3]), .init("empty \"name\" é", shape: [0], floats: []),
                    .init("bytes", shape: [3], bytes: [1, 2, 255]),
                ], metadata: ["step": "3"], to: "\(folder)/model.safetensors")
        }

        let report = try report(on: run.path)
        #expect(report.scalars.keys.sorted() == ["Plugin/mine", "VLA Train/Loss"])
        #expect(
            report.scalars["VLA Train/Loss"] == [
                [1, 1], [2, 0.5], [3, Double(Float(1) / 3)], [4, -4], [5, -5], [1_000_000, -1_000_000],
            ])
        #expect(report.scalars["Plugin/mine"] == [[1, 0.5], [2, nil], [3, 0.5]])
        #expect(
            report.tensors == [
                "checkpoints/step-000003/model.safetensors": [
                    "f32": .init(dtype: "F32", shape: [10, 10], sum: 1237.5),
                    "f16": .init(dtype: "F16", shape: [100], sum: 1237.5),
                    "bf16": .init(dtype: "BF16", shape: [2, 50], sum: 4950),
                    "ids": .init(dtype: "I64", shape: [3], sum: 4),
                    "empty \"name\" é": .init(dtype: "F32", shape: [0], sum: 0),
                    "bytes": .init(dtype: "U8", shape: [3], sum: 258),
                ]
            ])
    }

    @Test("merged, exported and sharded models open in safetensors with the tensors they should have")
    func modelFolders() throws {
        let folder = try TemporaryFolder()
        let source = try ModelFolder(path: BuildFolder.fixture("vla/one-tower-llama-base-lora").path)
        var options = ModelExporter.Options()
        options.shardBytes = 9000
        _ = try ModelExporter(source, options: options, parallel: .init(threads: 1)).write(to: folder.path("exported"))
        options.merges = true
        options.storage = .bf16
        _ = try ModelExporter(source, options: options, parallel: .init(threads: 1)).write(to: folder.path("merged"))

        let tensors = try report(on: folder.url.path).tensors
        for (name, dtype) in [("exported", "F32"), ("merged", "BF16")] {
            let shards = tensors.filter { $0.key.hasPrefix(name + "/model-") }
            #expect(shards.count > 1)
            let all = shards.values.reduce(into: [:]) { $0.merge($1) { one, _ in one } }
            #expect(Set(all.keys) == Set(source.backbone?.names ?? []))
            #expect(all.values.allSatisfy { $0.dtype == dtype })
            #expect(tensors[name + "/action_head--checkpoint.safetensors"]?["model.fc1.weight"] != nil)
        }
        let adapter = try #require(tensors["exported/lora_adapter/adapter_model.safetensors"])
        #expect(adapter.keys.allSatisfy { $0.hasPrefix("base_model.model.") })
        #expect(adapter["base_model.model.action_queries.weight"] != nil)
        #expect(adapter.count == 2 * (source.adapterSettings?.modules?.count ?? 0) + 1)
    }
}
