import ArgumentParser
import Collectives
import Data
import Formats
import Foundation
import Training

struct DataBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure how fast training batches are read, and in how much memory; prints JSON.",
        discussion:
            "Decodes, resizes, cuts chunks of actions and normalises, as training does, with images not augmented.")

    @OptionGroup var options: DatasetOptions

    @Option(help: "Samples in a batch.")
    var batch = 8

    @Option(help: "How long to measure, after one batch of warm-up.")
    var seconds = 10.0

    @Option(help: "Threads that decode.")
    var threads = ProcessorMask.count

    @Option(help: "Side of the images, pixels.")
    var imageSize = 224

    @Option(help: "Batches made ahead; 0 makes each when it is asked for.")
    var readAhead = 2

    @Flag(inversion: .prefixedNo, help: "Augment images.")
    var augment = false

    private struct Report: Encodable {
        var samplesPerSecond: Double
        var samples: Int
        var seconds: Double
        var openSeconds: Double
        var peakMiB: Double
        var threads: Int
        var batch: Int
        var imageSize: Int
        var readAhead: Int
    }

    func run() throws {
        guard seconds.isFinite, seconds > 0, seconds <= 86_400 else {
            throw DataError(.invalid, "--seconds is \(seconds); expected a number above 0 and at most 86400.")
        }
        func now() -> Double { Double(DispatchTime.now().uptimeNanoseconds) / 1e9 }
        let opening = now()
        let dataset = try options.open()
        let sampler = try DemonstrationSampler(
            dataset, statistics: try dataset.statistics(),
            options: SamplingOptions(
                batchSize: batch, imageSize: imageSize, cameras: dataset.cameras.map(\.name), augment: augment,
                threads: threads))
        let reader = try DemonstrationReader(sampler, depth: readAhead)
        _ = try reader.next()
        let start = now()
        var samples = 0
        while now() - start < seconds { samples += try reader.next().count }
        let elapsed = now() - start
        print(
            try JSONText.document(
                Report(
                    samplesPerSecond: Double(samples) / elapsed, samples: samples, seconds: elapsed,
                    openSeconds: start - opening, peakMiB: Double(ProcessMemory.peakBytes) / 1_048_576,
                    threads: threads, batch: batch, imageSize: imageSize, readAhead: readAhead)))
    }
}
