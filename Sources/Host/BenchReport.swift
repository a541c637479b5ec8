import Foundation
import Tensors
import Training

/// The figures of `craft bench`.
struct BenchReport: Encodable {
    /// Figures of one plugin list.
    struct Step: Encodable {
        var plugins: String
        var objectives: [String]
        var trainable: Int
        /// Losses of the first steps, to compare with other programs.
        var firstLosses: [[String: Double]] = []
        /// Milliseconds of every step, and the median of each round.
        var milliseconds: [Double] = []
        var roundMedians: [Double] = []
        /// Median milliseconds by phase, over rounds.
        var phases: [String: Double] = [:]
        /// Heap allocations of a step by phase, of the last round; empty unless they are counted.
        var allocations: [String: Double] = [:]
        /// 10^9 operations of a step's matrix products, and the rate of the median step.
        var gigaflop = 0.0
        var gigaflops = 0.0
        /// Of the measured rate of large matrix products.
        var shareOfPeak = 0.0
        /// Milliseconds of combination and update over those of one pass over memory.
        var updateOverBound = 0.0
        private var rounds: [[String: Double]] = []

        private enum CodingKeys: CodingKey {
            case plugins, objectives, trainable, firstLosses, milliseconds, roundMedians, phases, allocations, gigaflop
            case gigaflops, shareOfPeak, updateOverBound
        }

        init(plugins: String, objectives: [String], trainable: Int) {
            self.plugins = plugins
            self.objectives = objectives
            self.trainable = trainable
        }

        var median: Double { BenchReport.median(milliseconds) }

        mutating func warm(_ round: StepBenchmark.Round) { firstLosses = round.losses }

        mutating func add(_ round: StepBenchmark.Round, flops: Double) {
            milliseconds += round.milliseconds
            roundMedians.append(BenchReport.median(round.milliseconds))
            rounds.append(round.phases)
            allocations = round.allocations
            gigaflop = flops / 1e9
        }

        mutating func finish(limits: MachineLimits, bound: Double) {
            for phase in Set(rounds.flatMap(\.keys)) {
                phases[phase] = BenchReport.median(rounds.compactMap { $0[phase] })
            }
            gigaflops = gigaflop / median * 1e3
            shareOfPeak = gigaflops / limits.gemmGigaflops
            updateOverBound = ((phases["combine"] ?? 0) + (phases["update"] ?? 0)) / bound
        }
    }

    var model: String
    var batch: Int
    var threads: Int
    var tokens: Int
    var parameters: Int
    var steps: [Step]
    /// Milliseconds of forward passes of the batch, and of one observation.
    var forward: [Double] = []
    var latency: [Double] = []
    var samplesPerSecond: Double?
    var gemmGigaflops = 0.0
    var gigabytesPerSecond = 0.0
    var peakMebibytes = 0

    init(model: String, settings: BenchmarkSettings, lists: [String], benchmarks: [StepBenchmark]) {
        self.model = model
        batch = settings.batchSize
        threads = settings.threads
        tokens = benchmarks[0].sequenceTokens
        parameters = benchmarks[0].parameterCount
        steps = zip(lists, benchmarks).map {
            Step(plugins: $0, objectives: $1.objectives, trainable: $1.trainableCount)
        }
    }

    mutating func finish(limits: MachineLimits, bounds: [StepBenchmark], loading: Double?) {
        gemmGigaflops = limits.gemmGigaflops
        gigabytesPerSecond = limits.gigabytesPerSecond
        samplesPerSecond = loading
        for index in steps.indices {
            steps[index].finish(
                limits: limits, bound: bounds[index].updateBound(bandwidth: limits.gigabytesPerSecond))
        }
    }

    /// Ratio of a list's rounds to the first list's, round by round.
    private func ratios(_ step: Step) -> [Double] {
        zip(step.roundMedians, steps[0].roundMedians).map { $0 / $1 }
    }

    /// What a terminal shows.
    var text: String {
        func number(_ value: Double, _ format: String = "%.1f") -> String { String(format: format, value) }
        var lines = [
            "\(model): \(parameters) values, batch \(batch) x \(tokens) tokens, \(threads) threads",
            "machine: \(number(gemmGigaflops, "%.0f")) GFLOP/s in large matrix products, "
                + "\(number(gigabytesPerSecond)) GB/s in y += a x",
        ]
        for step in steps {
            let ratios = ratios(step)
            lines += [
                "", "step \(step.plugins)",
                "  median \(number(step.median)) ms (\(number(step.milliseconds.min() ?? .nan)) to "
                    + "\(number(step.milliseconds.max() ?? .nan)), \(step.milliseconds.count) steps), "
                    + "\(number(step.gigaflop, "%.2f")) GFLOP, \(number(step.gigaflops, "%.0f")) GFLOP/s, "
                    + "\(number(step.shareOfPeak * 100, "%.0f")) % of peak",
                "  ms by phase: "
                    + step.phases.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
                    .map { "\($0.key) \(number($0.value, "%.2f"))" }.joined(separator: ", "),
                "  combine and update: \(number(step.updateOverBound, "%.2f")) of one pass over memory",
            ]
            if !step.allocations.isEmpty {
                lines.append(
                    "  heap allocations by phase: "
                        + step.allocations.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
                        .map { "\($0.key) \(number($0.value, "%.0f"))" }.joined(separator: ", "))
            }
            if step.plugins != steps[0].plugins {
                lines.append(
                    "  ratio to the first: \(number(Self.median(ratios), "%.3f")) ("
                        + "\(number(ratios.min() ?? .nan, "%.3f")) to \(number(ratios.max() ?? .nan, "%.3f")))")
            }
        }
        lines += [
            "",
            "forward, batch: \(number(Self.median(forward))) ms; one observation: p50 "
                + "\(number(Self.quantile(latency, 0.5), "%.2f")) ms, p99 \(number(Self.quantile(latency, 0.99), "%.2f")) ms",
        ]
        if let samplesPerSecond {
            lines.append("data: \(number(samplesPerSecond, "%.0f")) samples/s, decoded and augmented")
        }
        lines.append("peak memory \(peakMebibytes) MiB, all lists together")
        return lines.joined(separator: "\n")
    }

    static func median(_ values: [Double]) -> Double { quantile(values, 0.5) }

    /// The value below which a fraction `q` lies, by linear interpolation.
    static func quantile(_ values: [Double], _ q: Double) -> Double {
        guard !values.isEmpty else { return .nan }
        let sorted = values.sorted()
        let place = q * Double(sorted.count - 1)
        let low = Int(place)
        let high = min(low + 1, sorted.count - 1)
        return sorted[low] + (sorted[high] - sorted[low]) * (place - Double(low))
    }
}
