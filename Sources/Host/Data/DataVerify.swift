import ArgumentParser
import Data
import Formats
import Foundation

struct DataVerify: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Read every byte of a data set and list everything that is wrong with it.",
        discussion: """
            Checks the shards against dataset_info.json, the checksums of every record, every feature of features.json, \
            and decodes every image. What is unusual but trained on all the same is a note. One record at a time is in memory. Exit code 0: sound, 1: damaged, 2: no data set \
            to look at.
            """)

    @OptionGroup var options: DatasetOptions

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let isTerminal = isatty(STDERR_FILENO) == 1
        let result = try DatasetVerification(root: options.folder, name: options.dataset) { done, count in
            guard isTerminal else { return }
            FileHandle.standardError.write(
                Foundation.Data("\rshard \(done) of \(count)\(done == count ? "\n" : "")".utf8))
        }
        if json {
            print(try JSONText.document(result))
        } else {
            for problem in result.problems { print(problem.message) }
            for remark in result.remarks { print("note: \(remark.message)") }
            print(
                "\(result.path): \(result.shards) shards, \(result.records) records, \(result.steps) steps, "
                    + "\(result.images) images, \(result.bytes) bytes: "
                    + (result.isSound
                        ? "sound" : "\(result.problems.count) problem\(result.problems.count == 1 ? "" : "s")"))
        }
        if !result.isSound { throw ExitCode(1) }
    }
}
