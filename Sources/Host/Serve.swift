import ArgumentParser
import Formats
import Foundation
import Processes
import Serving
import Training

struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve a fine-tuned policy over WebSocket, to openpi and vla-eval clients.",
        discussion: """
            craft serve --checkpoint runs/craft --port 8000

            Prints "listening on ws://HOST:PORT" when it is ready. A status page is at http://HOST:PORT/, machine-readable \
            at /health and /config. Ctrl-C answers the request at hand, closes all connections and ends.
            """)

    @Option(
        help: ArgumentHelp(
            "A run folder (its last checkpoint is served), one checkpoint of a run, or a model folder with dataset_statistics.json.",
            valueName: "folder"))
    var checkpoint: String

    @Flag(help: "Serve the moving average of the weights, which a run with --ema saves beside them.")
    var average = false

    @Option(
        help: ArgumentHelp(
            "Folder of the base model of an adapter. Default: the one that training began with.", valueName: "folder"))
    var base: String?

    @Option(help: "Address to listen at; 0.0.0.0 for all. There is no authentication.")
    var host = "127.0.0.1"

    @Option(help: "Port; 0 takes any free one.")
    var port = 8000

    @Option(
        name: .customLong("protocol"),
        help: "What is spoken. A client can also choose by the path /openpi or /vla-eval.")
    var served = ServedProtocol.auto

    @Option(help: "Connections at a time.")
    var maxClients = 16

    @Option(help: "Observations that may wait for the policy at a time.")
    var maxQueue = 32

    @Option(help: "Largest message, in MB.")
    var maxMessageMb = 16

    @Option(
        help:
            "vla-eval: actions of a chunk to carry out before the policy is asked again. Default: the whole chunk.")
    var chunkSteps: Int?

    @Option(help: "Seconds of silence, unanswered pings included, after which a connection is closed.")
    var idleTimeout = 120

    @Option(help: "Data set in dataset_statistics.json. Default: the only one.")
    var dataset: String?

    @Flag(
        inversion: .prefixedNo,
        help: "Crop images at the centre. Default: as the run was trained; for a model folder, crop.")
    var centerCrop: Bool?

    @Flag(
        inversion: .prefixedNo,
        help: "Compress images that come as pixels or PNG as JPEG and decode them first, as the training data were.")
    var jpeg = true

    @Option(help: "Threads. Default: the processors of the machine.")
    var threads: Int?

    func run() throws {
        var policy = PolicyOptions()
        policy.dataset = dataset
        policy.base = base
        policy.centreCrop = centerCrop
        policy.compresses = jpeg
        if let threads {
            guard (1...64).contains(threads) else {
                throw CommandError(.usage, "--threads is \(threads); expected 1 to 64")
            }
            policy.threads = threads
        }
        var options = ServerOptions()
        guard (1...1_024).contains(maxMessageMb) else {
            throw CommandError(.usage, "--max-message-mb is \(maxMessageMb); expected 1 to 1024")
        }
        (options.host, options.port, options.served) = (host, port, served)
        (options.maximumClients, options.maximumQueue) = (maxClients, maxQueue)
        options.maximumMessage = maxMessageMb << 20
        (options.chunkSteps, options.idleTimeout) = (chunkSteps, idleTimeout)

        Interruption.install()
        let model = try CheckpointFolders.model(in: checkpoint, isAveraged: average)
        if !average, CheckpointFolders.hasAverage(model) {
            let note = "note: serving the weights of the last step; --average serves their moving average\n"
            FileHandle.standardError.write(Data(note.utf8))
        }
        let server = try PolicyServer(checkpoint: average ? model : checkpoint, policy: policy, options: options)
        for note in server.notes { FileHandle.standardError.write(Data("note: \(note)\n".utf8)) }
        let address = server.host.contains(":") ? "[\(server.host)]" : server.host
        print("listening on ws://\(address):\(server.port)")
        while !Interruption.isRequested { usleep(50_000) }
        server.stop()
    }
}
