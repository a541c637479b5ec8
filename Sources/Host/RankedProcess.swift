import Collectives
import Formats
import Foundation
import Glibc
import PluginRuntime
import Processes
import Training

/// This process as one of several that a launcher (`mpirun`, `srun`) started.
enum RankedProcess {
    /// The ranks, once ``start()`` has found them. Set and read by the main thread alone.
    nonisolated(unsafe) private(set) static var ranks: any Collective = OneRank()

    /// Finds the ranks; a process that was started alone is the only one.
    static func start() throws -> any Collective {
        // MPI ends the process itself when it cannot start.
        CrashReport.acceptsExit = true
        defer { CrashReport.acceptsExit = false }
        ranks = try MPILibrary.ranks(besideExecutableIn: Installation.executableFolder)
        return ranks
    }

    /// Refuses a command that several processes would each do, all of it.
    static func refuseOthers(_ arguments: [String]) throws {
        guard let launcher = Launcher.find(), launcher.size > 1, let command = arguments.first,
            !["train", "pretrain"].contains(command), !command.hasPrefix("-")
        else { return }
        throw CommandError(
            .usage,
            "a launcher started \(launcher.size) processes (\(launcher.variable)), and craft \(command) is the work of one: each "
                + "would do all of it. craft train and craft pretrain divide theirs; start this one without the launcher"
        )
    }

    /// Threads for a run that was told no number: what this rank's share of its machine's processors is.
    static func divideProcessors(_ settings: inout RunSettings, given threads: Int?) throws {
        guard !ranks.isAlone, threads == nil else { return }
        let share = try ProcessorShare(of: ranks)
        settings.threads = min(64, share.threads)
        if let note = share.note, ranks.rank == 0 { print("note: \(note)") }
    }

    /// What other ranks than the first print goes to a file of the run.
    static func redirectOutput(of trainer: Trainer) throws {
        guard trainer.ranks.rank > 0 else { return }
        let path = trainer.run.logPath(ofRank: trainer.ranks.rank)
        fflush(nil)
        let file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o666)
        guard file >= 0, dup2(file, STDOUT_FILENO) >= 0 else {
            throw CommandError(.unwritable, "\(path): cannot be written; every rank needs the run's folder")
        }
        close(file)
    }

    /// Says what went wrong and ends all ranks: none can go on without the others.
    static func fail(_ text: String, code: Int32) {
        guard !ranks.isAlone else { return }
        // What is wrong on all ranks is said by the first, which ends the others meanwhile.
        if ranks.rank > 0 { usleep(1_000_000) }
        let name = ranks.rank == 0 ? "" : "rank \(ranks.rank) of \(ranks.size): "
        FileHandle.standardError.write(Data("\(name)\(text)\n".utf8))
        CrashReport.acceptsExit = true
        ranks.abort(code)
    }
}
