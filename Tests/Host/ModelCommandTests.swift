import Formats
import Foundation
import TestSupport
import Testing

/// `craft model ...` and what `craft plan` says about memory.
@Suite(.serialized) struct ModelCommandTests {
    private static func fixture(_ name: String) -> String { BuildFolder.fixture(name).path }

    @Test func countsOfAConfiguration() throws {
        let config = Self.fixture("configs/vla-adapter.json")
        let result = try CraftCommand.run(["model", "info", config, "--counts"])
        #expect(result.status == 0)
        for count in ["982", "1252553792", "102129695", "217864223", "206792991", "322527519"] {
            #expect(result.output.contains(count), "\(result.output)")
        }
        let json = try CraftCommand.run(["model", "info", config, "--counts", "--json", "--rank", "32"])
        #expect(json.output.contains("51897088"))
    }

    @Test func infoOfAFolder() throws {
        let result = try CraftCommand.run(["model", "info", Self.fixture("vla/two-towers-qwen2-pro-lora")])
        #expect(result.status == 0)
        for word in ["causal", "Pro action head", "lora_adapter", "F32", "computes with is missing"] {
            #expect(result.output.contains(word), "\(result.output)")
        }
        let shipped = try CraftCommand.run(["model", "info", CraftCommand.assets + "/small-vlm"])
        #expect(shipped.output.contains("There is no action head"), "\(shipped.output)")
    }

    @Test func traceWritesEveryName() throws {
        let folder = try TemporaryFolder()
        let path = Self.fixture("vla/one-tower-llama-base-lora")
        let out = folder.path("got.safetensors")
        let result = try CraftCommand.run([
            "model", "trace", path, "--inputs", path + "/inputs.safetensors", "--anchor", path + "/anchor.safetensors",
            "--out", out,
        ])
        #expect(result.status == 0, "\(result.output)")
        let (got, expected) = (
            try SafetensorsFile(path: out), try SafetensorsFile(path: path + "/expected.safetensors")
        )
        #expect(Set(expected.names).subtracting(got.names) == [])
        let bare = try CraftCommand.run([
            "model", "trace", path, "--inputs", path + "/inputs.safetensors", "--out", out,
        ])
        #expect(bare.status == 0 && bare.output.contains("action loss") && !bare.output.contains("retention"))
    }

    @Test func badTraceInputs() throws {
        let folder = try TemporaryFolder()
        let (base, pro) = (Self.fixture("vla/one-tower-llama-base"), Self.fixture("vla/two-towers-qwen2-pro"))
        let cases: [(arguments: [String], says: [String])] = [
            ([base, "--inputs", "/nowhere.safetensors"], ["/nowhere.safetensors"]),
            (["/nowhere", "--inputs", base + "/inputs.safetensors"], ["/nowhere"]),
            ([base, "--inputs", pro + "/inputs.safetensors"], ["pixel_values", "[2, 9, 8, 8]", "[2, 6, 8, 8]"]),
            ([base, "--inputs", base + "/anchor.safetensors"], ["input_ids"]),
            (
                [base, "--inputs", base + "/inputs.safetensors", "--anchor", pro + "/anchor.safetensors"],
                ["anchor.safetensors", "shape"]
            ),
            (
                [base, "--inputs", base + "/inputs.safetensors", "--anchor", base + "/inputs.safetensors"],
                ["inputs.safetensors", "not one of the model"]
            ),
            ([base, "--inputs", base + "/inputs.safetensors", "--lambda", "-1"], ["--lambda"]),
        ]
        for (arguments, says) in cases {
            let out = folder.path("got.safetensors")
            let result = try CraftCommand.run(["model", "trace"] + arguments + ["--out", out])
            #expect(result.status == 2, "\(arguments): \(result.output)")
            for word in says { #expect(result.output.contains(word), "\(arguments): \(result.output)") }
            #expect(!CraftCommand.exists(out))
        }
    }

    @Test func aRunCanBeMergedAndExported() throws {
        let folder = try TemporaryFolder()
        let run = folder.path("run")
        var result = try CraftCommand.run(
            CraftCommand.trainArguments(CraftCommand.four, steps: 2, out: run, ["--lora-rank", "2"]))
        #expect(result.status == 0, "\(result.output)")
        result = try CraftCommand.run(["model", "merge", run, "--out", folder.path("merged")])
        #expect(result.status == 0 && result.output.contains("modules merged"), "\(result.output)")
        result = try CraftCommand.run(["model", "export", run, "--out", folder.path("exported")])
        #expect(result.status == 0, "\(result.output)")
        for name in ["lora_adapter/adapter_model.safetensors", "dataset_statistics.json", "tokenizer.json"] {
            #expect(CraftCommand.exists(folder.path("exported") + "/" + name), "\(name)")
        }
        // The merged folder is a model like any other, with the trained queries in it.
        let merged = try SafetensorsFile(path: folder.path("merged/model.safetensors"))
        let adapter = try SafetensorsFile(
            path: run + "/checkpoints/step-000002/lora_adapter/adapter_model.safetensors")
        #expect(
            try merged.floats("action_queries.weight")
                == adapter.floats("base_model.model.action_queries.weight"))
        result = try CraftCommand.run(
            CraftCommand.trainArguments(
                "BaselineL1", steps: 1, out: folder.path("again"), ["--model", folder.path("merged")]))
        #expect(result.status == 0, "\(result.output)")
        let again = try CraftCommand.run(["model", "merge", run, "--out", folder.path("merged")])
        #expect(again.status == 2 && again.output.contains("exists already"))
    }

    /// The peak that `craft plan` prints is the one a run has, within a tenth.
    @Test(arguments: [
        ["--batch-size", "16", "--plugins", "BaselineL1"],
        ["--batch-size", "16", "--plugins", CraftCommand.four, "--lora-rank", "8"],
        ["--batch-size", "16", "--plugins", CraftCommand.four, "--checkpoint-activations"],
    ])
    func plannedMemoryIsHonoured(_ arguments: [String]) throws {
        let folder = try TemporaryFolder()
        let common = arguments + ["--steps", "2", "--question-limit", "64"]
        let plan = try CraftCommand.run(["plan"] + common)
        let train = try CraftCommand.run(["train", "--quiet", "--out", folder.path("run")] + common)
        #expect(plan.status == 0 && train.status == 0, "\(plan.output)\(train.output)")
        let planned = try #require(Self.number(before: " MiB", after: "peak ", in: plan.output))
        let used = try #require(Self.number(before: " MiB", after: "peak memory ", in: train.output))
        #expect(abs(planned / used - 1) < 0.1, "planned \(planned) MiB, used \(used) MiB")
    }

    private static func number(before end: String, after start: String, in text: String) -> Double? {
        guard let from = text.range(of: start), let to = text.range(of: end, range: from.upperBound..<text.endIndex)
        else { return nil }
        return Double(text[from.upperBound..<to.lowerBound].trimmingCharacters(in: .whitespaces))
    }
}
