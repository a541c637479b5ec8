import Formats
import Foundation
import Models
import TestSupport
import Testing

/// Blends against scripts/reference/blend_reference.py.
@Suite struct BlendTests {
    private static func reference() throws -> SafetensorsFile {
        try SafetensorsFile(path: BuildFolder.fixture("blend.safetensors").path)
    }

    /// A copy of the fixture's model with the reference's tensors of one model in place: `base`, `tuned1`, ...
    private func model(
        _ model: String, as storage: SafetensorsWriter.Tensor.FloatStorage = .f32
    ) throws -> ModelFixture {
        let fixture = try ModelFixture("one-tower-qwen2-base")
        let values = try Self.reference()
        for (file, prefix) in [("model", ""), ("action_head--checkpoint", "action_head.")] {
            try fixture.rewrite(file + ".safetensors") { source, entry in
                let name = "\(model).\(prefix)\(entry.name)"
                let floats = try values.entry(name) == nil ? source.floats(entry.name) : values.floats(name)
                return .init(entry.name, shape: entry.shape, floats: floats, as: storage)
            }
        }
        return fixture
    }

    private func blend(
        _ models: [ModelFixture], _ change: (inout ModelBlend.Options) -> Void
    ) throws -> (folder: ModelFolder, report: ModelBlend.Report) {
        var options = ModelBlend.Options()
        options.group = { $0.hasPrefix("action_head") ? "policy" : $0.hasPrefix("language_model") ? "decoder" : nil }
        change(&options)
        let out = models[0].path + "-blend"
        try? FileManager.default.removeItem(atPath: out)
        let report = try ModelBlend(try models.map { try ModelFolder(path: $0.path) }, options: options).write(to: out)
        return (try ModelFolder(path: out), report)
    }

    private static let cases: [(name: String, tuned: Int, change: @Sendable (inout ModelBlend.Options) -> Void)] = [
        ("wise", 1, { $0.alpha = 0.3 }),
        (
            "wise-groups", 1,
            {
                $0.alpha = 0.25
                $0.alphas = ["policy": 1, "decoder": 0]
            }
        ),
        ("soup", 3, { $0.method = .soup }),
        (
            "soup-weights", 3,
            {
                $0.method = .soup
                $0.weights = [1, 2, 0, 1]
            }
        ),
        (
            "task-arithmetic", 3,
            {
                $0.method = .taskArithmetic
                $0.alpha = 0.4
                $0.weights = [1, 1, -0.5]
            }
        ),
        ("ties", 3, { $0.method = .ties }),
        (
            "ties-weights", 3,
            {
                $0.method = .ties
                $0.alpha = 0.8
                $0.alphas = ["policy": 0.5]
                $0.weights = [1, 0.5, 2]
                $0.density = 0.55
            }
        ),
        (
            "ties-all", 3,
            {
                $0.method = .ties
                $0.density = 1
            }
        ),
    ]

    @Test(arguments: cases.indices) func equalsTheReference(_ index: Int) throws {
        let (name, tuned, change) = Self.cases[index]
        let models = ["base"] + (1...tuned).map { "tuned\($0)" }
        let fixtures = try models.map { try model($0) }
        defer { withExtendedLifetime(fixtures) {} }
        let (folder, report) = try blend(fixtures, change)
        let reference = try Self.reference()
        var compared = 0
        for entry in reference.names where entry.hasPrefix(name + ".") {
            let tensor = String(entry.dropFirst(name.count + 1))
            let (file, stored) = try #require(folder.location(of: tensor))
            let (got, want) = try (file.floats(stored), reference.floats(entry))
            // Float64 sums in another order may round to the neighbouring float32.
            #expect(zip(got, want).allSatisfy { abs($0 - $1) <= 1.3e-7 * max(1, abs($1)) }, "\(name): \(tensor)")
            #expect(try got != reference.floats("base." + tensor) || tensor.contains("language_model"))
            compared += 1
        }
        #expect(compared == 5)
        // Tensors on which all models agree are as they were: these kinds of blends leave equal values alone.
        let original = try ModelFolder(path: BuildFolder.fixture("vla/one-tower-qwen2-base").path)
        let untouched = "language_model.model.embed_tokens.weight"
        let (one, other) = try (#require(folder.location(of: untouched)), #require(original.location(of: untouched)))
        #expect(try one.file.floats(one.name) == other.file.floats(other.name))
        #expect(report.withoutBase == 0 && report.notes.isEmpty)
        let info = ModelInfo(folder)
        #expect(info.missing == [] && info.unexpected == [])
        #expect(FileManager.default.fileExists(atPath: folder.path + "/dataset_statistics.json"))
    }

    @Test func theEndsAreTheModelsThemselves() throws {
        let models = try [model("base"), model("tuned1")]
        for (alpha, same) in [(0.0, models[0]), (1.0, models[1])] {
            let (folder, _) = try blend(models) { $0.alpha = alpha }
            for file in ["model.safetensors", "action_head--checkpoint.safetensors"] {
                let (got, want) = try (
                    SafetensorsFile(path: folder.path + "/" + file), SafetensorsFile(path: same.file(file))
                )
                #expect(Set(got.names) == Set(want.names))
                for name in got.names { #expect(try got.floats(name) == want.floats(name), "\(name) at \(alpha)") }
            }
        }
    }

    @Test func typesAreThoseOfTheTunedModelUnlessAskedFor() throws {
        let models = try [model("base"), model("tuned1", as: .bf16)]
        defer { withExtendedLifetime(models) {} }
        func type(_ folder: ModelFolder, _ file: String) throws -> SafetensorsType? {
            let file = try SafetensorsFile(path: folder.path + "/" + file)
            let types = Set(file.names.compactMap { file.entry($0)?.dtype })
            return types.count == 1 ? types.first : nil
        }
        let (folder, _) = try blend(models) { $0.alpha = 0.5 }
        #expect(try type(folder, "model.safetensors") == .bf16)
        let (other, _) = try blend(models) {
            $0.alpha = 0.5
            $0.storage = .f16
            $0.shardBytes = 5_000
        }
        #expect(try TensorFiles.open(in: other.path)?.files.count ?? 0 > 1)
        #expect(other.backbone?.entry("projector.fc1.weight")?.dtype == .f16)
    }

    /// A base without action head and queries, as pretrained ones are.
    @Test func whatTheBaseLacksIsTheTunedModels() throws {
        let models = try [model("base"), model("tuned1"), model("tuned2")]
        try FileManager.default.removeItem(atPath: models[0].file("action_head--checkpoint.safetensors"))
        let head = try SafetensorsFile(path: models[1].file("action_head--checkpoint.safetensors"))
        let (one, report) = try blend(Array(models.prefix(2))) { $0.alpha = 0.5 }
        #expect(report.withoutBase == head.names.count)
        let got = try #require(one.actionHead)
        for name in head.names { #expect(try got.floats(name) == head.floats(name)) }
        let (two, _) = try blend(models) { $0.method = .ties }
        let other = try SafetensorsFile(path: models[2].file("action_head--checkpoint.safetensors"))
        let mean = try #require(two.actionHead).floats("model.fc2.weight")
        let both = try (head.floats("model.fc2.weight"), other.floats("model.fc2.weight"))
        for i in mean.indices { #expect(abs(mean[i] - (both.0[i] + both.1[i]) / 2) <= 1e-6) }
        expectError("policy=0.5", "action_head") { try blend(Array(models.prefix(2))) { $0.alphas = ["policy": 0.5] } }
        expectError("--weights above 0") {
            try blend(models) {
                $0.method = .taskArithmetic
                $0.weights = [1, -1]
            }
        }
    }

    private func expectError(
        _ words: String..., at location: SourceLocation = #_sourceLocation, _ body: () throws -> Any
    ) {
        do {
            _ = try body()
            Issue.record("no error", sourceLocation: location)
        } catch {
            for word in words { #expect("\(error)".contains(word), "\(error)", sourceLocation: location) }
        }
    }

    @Test func whatCannotBeBlendedIsNamed() throws {
        let (base, tuned) = try (model("base"), model("tuned1"))
        let adapter = try ModelFixture("two-towers-qwen2-base-lora")
        expectError("lora_adapter", "craft model merge") { try blend([base, adapter]) { _ in } }
        let other = try ModelFixture("two-towers-qwen2-base")
        expectError("describe different models") { try blend([base, other]) { _ in } }
        expectError("at least two") { try blend([base]) { _ in } }
        expectError("--method wise", "2 are given") { try blend([base, tuned, tuned]) { _ in } }
        expectError("--weights has 3 numbers; expected 2") {
            try blend([base, tuned]) {
                $0.method = .soup
                $0.weights = [1, 2, 3]
            }
        }
        let name = "projector.fc1.weight"
        let short = try model("tuned1")
        try short.rewrite("model.safetensors") { file, entry in
            entry.name == name ? nil : .init(entry.name, copying: entry, of: file)
        }
        expectError(name, short.path) { try blend([base, short]) { _ in } }
        expectError(name, short.path) { try blend([base, short]) { $0.method = .soup } }
        for bad in [Float.nan, .infinity] {
            let broken = try model("tuned1")
            try broken.rewrite("model.safetensors") { file, entry in
                var values = try file.floats(entry.name)
                if entry.name == name { values[values.count - 1] = 7_654_321 }
                return .init(entry.name, shape: entry.shape, floats: values)
            }
            // craft itself writes no such value.
            let file = URL(fileURLWithPath: broken.path + "/model.safetensors")
            var bytes = try Data(contentsOf: file)
            let mark = try #require(bytes.range(of: withUnsafeBytes(of: Float(7_654_321)) { Data($0) }))
            bytes.replaceSubrange(mark, with: withUnsafeBytes(of: bad) { Data($0) })
            try bytes.write(to: file)
            for method in [ModelBlend.Method.wise, .soup, .ties] {
                expectError(name, "not finite", broken.path) { try blend([base, broken]) { $0.method = method } }
                #expect(!FileManager.default.fileExists(atPath: base.path + "-blend"))
            }
        }
        expectError("cannot hold", "--dtype f32") {
            try blend([base, tuned]) {
                $0.method = .taskArithmetic
                $0.alpha = 1e7
                $0.storage = .f16
            }
        }
        _ = try ModelBlend([base, tuned].map { try ModelFolder(path: $0.path) }, options: .init())
            .write(to: base.path + "-there")
        expectError("exists already") {
            try ModelBlend([base, tuned].map { try ModelFolder(path: $0.path) }, options: .init())
                .write(to: base.path + "-there")
        }
    }
}
