import Collectives
import Formats
import Foundation
import Glibc
import Models
import PluginRuntime
import Processes
import Tensors
import Training

/// Names for runs that were given none.
enum RunNames {
    static func fresh(_ kind: String) -> String {
        let formatter = DateFormatter()
        formatter.dateFormat = "yyyyMMdd-HHmmss"
        formatter.locale = Locale(identifier: "en_US_POSIX")
        return "runs/\(kind)-\(formatter.string(from: Date()))"
    }
}

/// The progress lines of a run, kept in its folder: `train_progress.log`.
private struct ProgressLog {
    private let file: FileHandle

    init(path: String) throws {
        let manager = FileManager.default
        guard manager.fileExists(atPath: path) || manager.createFile(atPath: path, contents: nil),
            let file = FileHandle(forWritingAtPath: path)
        else { throw CommandError(.unwritable, "\(path): cannot be written; check the folder's permissions and space") }
        self.file = file
        try file.seekToEnd()
    }

    /// A line that cannot be written is no reason to end a run: the metrics are elsewhere.
    func append(_ line: String) { try? file.write(contentsOf: Data((line + "\n").utf8)) }
}

/// Runs a trainer with progress on the terminal.
enum Session {
    /// - Parameter saved: called when a checkpoint is saved, with its path and step.
    static func train(
        _ trainer: Trainer, quiet: Bool, progressEvery: Int? = nil,
        saved: @escaping (String, Int) throws -> Void = { _, _ in }
    ) throws -> RunSummary {
        Interruption.install()
        try RankedProcess.redirectOutput(of: trainer)
        CrashReport.install(
            advice:
                "Checkpoints of \(trainer.run.path) are whole: craft train --resume \(trainer.run.path) goes on from the "
                + "last. craft plugins check looks for the mistake in a plugin.")
        let isFirst = trainer.ranks.rank == 0
        let isTerminal = isatty(STDERR_FILENO) == 1 && !quiet && progressEvery == nil && isFirst
        describe(trainer)
        var lastLine = Date.distantPast
        let log = isFirst ? try ProgressLog(path: trainer.run.progressPath) : nil
        func show(_ event: TrainingEvent) {
            switch event {
            case .step(let report, let total, let elapsed, let done):
                let isLast = report.step + 1 == total
                // A line a step would bury a log: one every few seconds tells as much.
                let pause = isTerminal ? 0.2 : 5
                let isDue =
                    progressEvery.map { (report.step + 1) % $0 == 0 }
                    ?? (Date().timeIntervalSince(lastLine) >= pause)
                guard isLast || isDue || report.skipped != nil else { return }
                lastLine = Date()
                let line = progress(report, total: total, elapsed: elapsed, done: done)
                log?.append(line)
                if isTerminal {
                    FileHandle.standardError.write(Data("\r\u{1B}[K\(line)\(isLast ? "\n" : "")".utf8))
                } else {
                    print(line)
                }
            case .evaluation(let name, let value, let step):
                let line = "step \(step): \(name) \(String(format: "%.4f", value))"
                log?.append(line)
                clearLine(isTerminal)
                print(line)
            case .saved(let path, let step):
                clearLine(isTerminal)
                print("saved \(path)")
                do { try saved(path, step) } catch { print("note: \(error)") }
            case .note(let text):
                clearLine(isTerminal)
                print(SettingFlags.sentence(text))
            }
        }
        return try trainer.train(shouldStop: { Interruption.isRequested }, report: show)
    }

    static func printSummary(_ summary: RunSummary) {
        let megabytes = summary.peakBytes >> 20
        print(
            "\(summary.wasStopped ? "stopped and saved" : "done"): step \(summary.steps), "
                + String(format: "%.1f ms/step", summary.medianStepMilliseconds)
                + ", peak memory \(megabytes) MiB; run folder \(summary.path)")
        let phases = summary.phases.sorted { $0.value > $1.value }
            .map { "\($0.key) \(String(format: "%.1f", $0.value))" }.joined(separator: ", ")
        print("ms by phase: \(phases)")
    }

    static func printProfile(_ trainer: Trainer) {
        let shares = TraceFile.shares(of: trainer.profile)
        guard !shares.isEmpty else {
            print("profile: no step was recorded; it starts with the fourth")
            return
        }
        func row(_ name: String, _ direction: String, _ calls: String, _ ms: String, _ share: String, _ rate: String) {
            func left(_ text: String, _ width: Int) -> String {
                text + String(repeating: " ", count: max(0, width - text.count))
            }
            func right(_ text: String, _ width: Int) -> String {
                String(repeating: " ", count: max(0, width - text.count)) + text
            }
            print(left(name, 18), left(direction, 9), right(calls, 7), right(ms, 10), right(share, 7), right(rate, 9))
        }
        row("profile", "", "calls", "ms", "share", "GFLOP/s")
        for share in shares {
            row(
                share.name, share.category.rawValue, "\(share.calls)", String(format: "%.2f", share.milliseconds),
                String(format: "%.1f%%", share.fraction * 100),
                share.gigaflops > 0 ? String(format: "%.1f", share.gigaflops) : "")
        }
        print("trace: \(trainer.run.profilePath)")
    }

    private static func describe(_ trainer: Trainer) {
        let settings = trainer.settings
        let objectives = trainer.step.objectives.joined(separator: ", ")
        print(
            "run \(trainer.run.path): \(settings.plugins.map(\.instance).joined(separator: ",")) (objectives: \(objectives))"
        )
        let anchor = trainer.step.anchorSource.map { ", anchors \($0.rawValue)" } ?? ""
        for note in trainer.step.composition.plan.notes { print("note: \(SettingFlags.sentence(note))") }
        let from = trainer.stepsDone == 0 ? "" : ", continuing from step \(trainer.stepsDone)"
        print(
            "\(trainer.model.parameters.trainableCount) trainable values, batch \(settings.batchSize) x "
                + "\(settings.accumulation), \(settings.threads) threads, seed \(settings.seed)\(anchor)\(from)")
        if !trainer.ranks.isAlone {
            print("rank \(trainer.ranks.rank) of \(trainer.ranks.size), over \(trainer.ranks.carrier)")
        }
    }

    private static func clearLine(_ isTerminal: Bool) {
        if isTerminal { FileHandle.standardError.write(Data("\r\u{1B}[K".utf8)) }
    }

    private static func progress(_ report: StepReport, total: Int, elapsed: Double, done: Int) -> String {
        let metrics = report.metrics
        func number(_ name: String, _ format: String = "%.4f") -> String? {
            metrics[name].map { String(format: format, $0) }
        }
        let rate = Double(done) / max(elapsed, 1e-9)
        let left = Double(total - report.step - 1) / max(rate, 1e-9)
        var parts = ["step \(report.step + 1)/\(total)"]
        if let skipped = report.skipped { parts.append("skipped: \(skipped)") }
        if let loss = number("loss.action") { parts.append("loss \(loss)") }
        if let loss = number("loss.answer") { parts.append("answer loss \(loss)") }
        if let accuracy = number("answer_accuracy", "%.3f") { parts.append("accuracy \(accuracy)") }
        if let retention = number("loss.retention", "%.5f") { parts.append("L_ret \(retention)") }
        if let ratio = number("retention_over_budget", "%.2f") { parts.append("L_ret/budget \(ratio)") }
        if let before = number("lambda.retention@prev"), let after = number("lambda.retention") {
            parts.append("lambda \(before)->\(after)")
        }
        // A conflict ratio means little alone: sign noise gives .3 to .5.
        if let conflict = number("conflict_ratio", "%.2f"), let cosine = number("gradient_cosine", "%+.3f") {
            parts.append("conflict \(conflict) (cos \(cosine))")
        }
        if let norm = number("gradient_norm", "%.3g") { parts.append("grad \(norm)") }
        parts.append(String(format: "%.2f it/s, %@ left", rate, duration(left)))
        return parts.joined(separator: "  ")
    }

    private static func duration(_ seconds: Double) -> String {
        let total = Int(min(seconds, 359_999))
        return total >= 3600
            ? String(format: "%d:%02d:%02d", total / 3600, total / 60 % 60, total % 60)
            : String(format: "%d:%02d", total / 60, total % 60)
    }
}
