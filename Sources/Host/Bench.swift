import ArgumentParser
import Formats
import Foundation
import Models
import PluginRuntime
import Processes
import Tensors
import Training

struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Time training steps, inference and data loading on this machine.",
        discussion: """
            craft bench
            craft bench --hooks
            craft bench --model medium --plugins "BaselineL1; BaselineL1,AnchorVariants,CRaFTProjection,CRaFTDual"

            Steps run on a fixed random batch, the plugin lists in turns, so that what else the machine does falls on all \
            of them. Compare ratios within one run. make bench runs the same steps in PyTorch as well.
            """)

    @Option(
        help: ArgumentHelp(
            "small (the shipped model), medium (14 M values), smollm2 (SmolLM2-135M with a DINOv2-S tower), or a folder with a config.json.",
            valueName: "size"))
    var model = "small"

    @Option(help: ArgumentHelp("Plugin lists, separated by semicolons.", valueName: "lists"))
    var plugins = "BaselineL1; BaselineL1,AnchorVariants,CRaFTProjection,CRaFTDual"

    @OptionGroup var assignments: SettingAssignments

    @OptionGroup var folders: PluginFolders

    @Option(help: "Samples in a batch.")
    var batchSize = 8

    @Option(help: "Tokens of every prompt.")
    var promptTokens = 30

    @Option(help: "Rounds, in each of which every list has its turn.")
    var rounds = 5

    @Option(help: "Steps of a turn.")
    var steps = 10

    @Option(help: "Steps of each list before the first round.")
    var warmup = 3

    @Option(help: "Threads. Default: the processors of the machine.")
    var threads: Int?

    @Option(help: "Low-rank adapters of this rank instead of full fine-tuning.")
    var loraRank: Int?

    @Flag(help: "Run blocks again in the backward pass instead of keeping their values.")
    var checkpointActivations = false

    @Option(
        help: ArgumentHelp(
            "Compute what is known all the same, to measure what leaving it out gains: demanded-states, active-rows or shared-cotangents, separated by commas.",
            valueName: "shortcuts"))
    var without: String?

    @Option(help: "float32, or bf16 to round the operands of matrix products to bfloat16.")
    var matmulPrecision = RunSettings.MatmulPrecision.float32

    @Flag(
        help:
            "Time hook calls instead of steps: those of --plugins and their native and frame form, and all of a step against the same arithmetic in the host."
    )
    var hooks = false

    @Flag(inversion: .prefixedNo, help: "Time forward passes as at inference too, eleven a round.")
    var inference = true

    @Option(help: "The same for anchor features alone.")
    var anchorPrecision: RunSettings.MatmulPrecision?

    @Option(help: "wall, or cpu for processor time, which other processes lengthen less; with --threads 1.")
    var clock = BenchmarkSettings.Clock.wall

    @Option(help: ArgumentHelp("Write the figures as JSON too.", valueName: "file"))
    var json: String?

    @Option(
        help: ArgumentHelp(
            "Write weights and batch as safetensors before the first step, for other programs.", valueName: "file"))
    var save: String?

    @Flag(help: "Print JSON lines, and wait for a line on standard input before each round: to take turns with others.")
    var wait = false

    func validate() throws {
        func need(_ condition: Bool, _ sentence: String) throws {
            if !condition { throw ValidationError(sentence) }
        }
        try need((1...4096).contains(batchSize), "--batch-size is \(batchSize); expected 1 to 4096")
        try need((1...4096).contains(promptTokens), "--prompt-tokens is \(promptTokens); expected 1 to 4096")
        try need((1...10_000).contains(rounds), "--rounds is \(rounds); expected 1 to 10000")
        try need((1...10_000).contains(steps), "--steps is \(steps); expected 1 to 10000")
        try need((1...1000).contains(warmup), "--warmup is \(warmup); expected 1 to 1000")
        try need((1...64).contains(threads ?? 1), "--threads is \(threads ?? 1); expected 1 to 64")
        try need((1...4096).contains(loraRank ?? 1), "--lora-rank is \(loraRank ?? 1); expected 1 to 4096")
    }

    func run() throws {
        var settings = BenchmarkSettings()
        settings.model = try Self.folder(model)
        settings.batchSize = batchSize
        settings.promptTokens = promptTokens
        if let threads { settings.threads = threads }
        settings.adapter = loraRank.map { AdapterSettings(rank: $0, alpha: RunSettings.defaultAlpha(rank: $0)) }
        settings.checkpointsActivations = checkpointActivations
        for name in (without ?? "").split(separator: ",") {
            guard let known = Shortcuts.named.first(where: { $0.name == name }) else {
                throw ValidationError(
                    "--without names '\(name)'; expected "
                        + Shortcuts.named.map(\.name).joined(separator: ", "))
            }
            settings.shortcuts.subtract(known.shortcut)
        }
        settings.matmulPrecision = matmulPrecision
        settings.anchorPrecision = anchorPrecision
        settings.clock = clock
        settings.pluginPath = folders.paths
        let lists = plugins.split(separator: ";").map { $0.trimmingCharacters(in: .whitespaces) }
            .filter { !$0.isEmpty }
        guard !lists.isEmpty else {
            throw CommandError(.usage, "--plugins names no list; give BaselineL1 for instance")
        }
        if hooks { return try runHooks(lists) }
        let benchmarks = try assignments.apply(to: lists.map { try PluginRequest.parseList($0) }).map {
            try StepBenchmark(settings, plugins: $0)
        }
        if let save { try benchmarks[0].save(to: save) }
        var report = BenchReport(model: model, settings: settings, lists: lists, benchmarks: benchmarks)
        for index in benchmarks.indices { report.steps[index].warm(try benchmarks[index].run(steps: warmup)) }
        if wait { try Self.printLine(["ready": "true"]) }
        for round in 0..<rounds {
            if wait && readLine() == nil { break }
            for index in benchmarks.indices {
                let result = try benchmarks[index].run(steps: steps)
                report.steps[index].add(result, flops: benchmarks[index].flopsPerStep)
                if wait {
                    try Self.printLine(
                        TurnLine(
                            round: round + 1, plugins: lists[index], ms: result.milliseconds, phases: result.phases))
                }
            }
            guard inference else { continue }
            _ = benchmarks[0].forward(samples: 1)
            report.latency += (0..<10).map { _ in benchmarks[0].forward(samples: 1) }
            report.forward.append(benchmarks[0].forward(samples: batchSize))
            if wait {
                try Self.printLine(
                    ["latency": report.latency.suffix(10).map { $0 }, "forward": [report.forward[round]]])
            }
        }
        // Before the limits are measured, which takes memory of its own.
        report.peakMebibytes = ProcessMemory.peakBytes >> 20
        report.finish(
            limits: MachineLimits(Parallel(threads: settings.threads)), bounds: benchmarks,
            loading: try loadingRate(threads: settings.threads))
        if wait { try Self.printLine(report) } else { print(report.text) }
        if let json {
            try AtomicFile.write([UInt8](try Self.encoder(pretty: true).encode(report)) + [10], to: json)
        }
    }

    /// Times hooks; a list's plugins one by one, each once.
    private func runHooks(_ lists: [String]) throws {
        var requests: [PluginRequest] = []
        for request in try assignments.apply(to: lists.map { try PluginRequest.parseList($0) }).flatMap(\.self)
        where !requests.contains(request) { requests.append(request) }
        let benchmark = try HookBenchmark(
            requests, search: folders.search, blocks: 100,
            repetitions: 100 * steps)
        print(HookReport.text(of: benchmark))
        if let json {
            try AtomicFile.write([UInt8](try Self.encoder(pretty: true).encode(benchmark)) + [10], to: json)
        }
    }

    /// Samples a second of the shipped demonstrations; nil for other models, whose image size may differ.
    private func loadingRate(threads: Int) throws -> Double? {
        guard model == "small" else { return nil }
        var settings = TrainDefaults.settings
        settings.pluginPath = folders.paths
        settings.batchSize = batchSize
        settings.threads = threads
        settings.holdOutEvery = 0
        settings.questions = ""
        return try LoadingBenchmark.samplesPerSecond(settings, batches: 50)
    }

    private static func folder(_ name: String) throws -> String {
        if name == "small" { return Installation.model }
        if ["medium", "smollm2"].contains(name) { return Installation.assets + "/bench/\(name)" }
        guard FileManager.default.fileExists(atPath: name + "/config.json") else {
            throw CommandError(
                .usage, "--model is \(name); expected small, medium, smollm2 or a folder with a config.json")
        }
        return name
    }

    private static func encoder(pretty: Bool) -> JSONEncoder {
        let encoder = JSONText.encoder(pretty: pretty)
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        return encoder
    }

    private static func printLine(_ value: some Encodable) throws {
        print(String(decoding: try encoder(pretty: false).encode(value), as: UTF8.self))
    }

    private struct TurnLine: Encodable {
        var round: Int
        var plugins: String
        var ms: [Double]
        var phases: [String: Double]
    }
}
