internal import Collectives
internal import Formats
internal import Foundation
internal import PluginRuntime
internal import Tensors

/// A step that several processes take together: each runs some of its micro-batches, and all others parts of it on what came of
/// all of them.
final class StepRanks {
    let collective: any Collective
    /// This process's, of the step's.
    let micros: Range<Int>
    let owners: PieceOwners

    /// What the ranks know of a step's micro-batches together.
    struct Outcome {
        /// The first micro-batch in which something was not finite, and what.
        var failure: (micro: Int, sentence: String)?
        /// Whether the user of some rank asked for the end.
        var isInterrupted: Bool
    }

    init(_ collective: any Collective, accumulation: Int, owners: PieceOwners) {
        self.collective = collective
        self.owners = owners
        micros = Self.share(of: collective, accumulation: accumulation)
    }

    /// The micro-batches of a rank: all ranks have equally many.
    static func share(of collective: any Collective, accumulation: Int) -> Range<Int> {
        let count = accumulation / collective.size
        return collective.rank * count..<(collective.rank + 1) * count
    }

    func begin(_ step: Int) { owners.phase = "step \(step): drift" }

    /// Joins what the ranks' micro-batches gave: afterwards `session` has the sums of all, and every gradient says what some
    /// rank reached.
    ///
    /// - Parameters:
    ///   - gradients: all that will be reduced.
    ///   - failure: what was not finite in this rank's.
    func join(
        step: Int, _ session: HookSession, _ gradients: [GradientAccumulator], failure: (micro: Int, sentence: String)?,
        isInterrupted: Bool
    ) throws -> Outcome {
        owners.phase = "step \(step): losses"
        var message = MessageWriter()
        message.add(failure?.micro ?? -1)
        message.add(failure?.sentence ?? "")
        message.add(isInterrupted ? 1 : 0)
        message.add(Self.isChecked(step) ? try session.stateDigest() : "")
        message.add(session.batchPart)
        for gradient in gradients { message.add(gradient.isReached) }

        var outcome = Outcome(failure: nil, isInterrupted: false)
        var parts: [HookSession.BatchPart] = []
        var reached = gradients.map { _ in Set<Int>() }
        var last = collective.size - 1
        var digests: [String] = []
        for (rank, bytes) in try collective.gather(message.bytes, phase: owners.phase).enumerated() {
            var reader = MessageReader(bytes)
            let (micro, sentence) = (try reader.integer(), try reader.text())
            if micro >= 0, outcome.failure == nil {
                // Ranks are in the order of micro-batches: a process alone would have ended the step here.
                outcome.failure = (micro, sentence)
                last = rank
            }
            if try reader.integer() != 0 { outcome.isInterrupted = true }
            digests.append(try reader.text())
            parts.append(try reader.batchPart())
            for index in gradients.indices {
                for (id, isReached) in try reader.flags().enumerated() where isReached { reached[index].insert(id) }
            }
        }
        try Self.check(digests, step: step)
        session.join(parts, last: last)
        for (gradient, ids) in zip(gradients, reached) { gradient.reach(ids) }
        owners.phase = "step \(step): gradients"
        return outcome
    }

    // MARK: - Equal states

    /// Plugins' states are compared after the first step, where most differences show, and every so often.
    private static func isChecked(_ step: Int) -> Bool { step == 1 || step % 100 == 0 }

    private static func check(_ digests: [String], step: Int) throws {
        for (rank, digest) in digests.enumerated() where digest != digests[0] {
            let (own, first) = (digest.split(separator: "\n"), digests[0].split(separator: "\n"))
            let name = zip(own, first).first { $0 != $1 }?.0.split(separator: " ").first ?? "?"
            throw CollectiveError(
                .unequal,
                "before step \(step), \(name) has another state on rank \(rank) than on rank 0. All hooks but pre_backward get "
                    + "equal values on all ranks; a pre_backward hook sees each rank's own micro-batches, so what it keeps "
                    + "differs. Train with this plugin in one process (--accumulation as it is)")
        }
    }
}

extension HookSession {
    /// A line for each part of the state: its name and a hash.
    fileprivate func stateDigest() throws -> String {
        let state = try save()
        func hash(_ bytes: some Sequence<UInt8>) -> String {
            String(bytes.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }, radix: 16)
        }
        let plugins = state.plugins.sorted { $0.key < $1.key }.map { "plugin-\($0.key) \(hash($0.value))" }
        let multipliers = state.multipliers.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value.bitPattern)" }
        let rates = state.rateScales.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value.bitPattern)" }
        return
            (plugins + [
                "multipliers \(hash(multipliers.joined().utf8))", "rates \(hash(rates.joined().utf8))",
                "remembered-values \(hash(state.previousValues))",
            ]).joined(separator: "\n")
    }
}

extension MessageWriter {
    mutating func add(_ part: HookSession.BatchPart) {
        add(part.microBatches)
        add(part.sums.count)
        for sum in part.sums { add(sum) }
        add(part.drift.count)
        for row in part.drift { add(row) }
        add(part.left.count)
        for value in part.left {
            add(value?.element.rawValue ?? "")
            guard let value else { continue }
            add(value.shape.map { [$0.count] + $0 }?.map(Double.init) ?? [])
            add(value.bytes)
        }
    }
}

extension MessageReader {
    mutating func batchPart() throws -> HookSession.BatchPart {
        let microBatches = try integer()
        let sums = try list { reader in try reader.optionalNumber() }
        let drift = try list { reader in try reader.numbers() }
        let left = try list { reader -> HookSession.LeftValue? in
            guard let element = ElementType(rawValue: try reader.text()) else { return nil }
            let shape = try reader.numbers().map { Int($0) }
            return HookSession.LeftValue(
                element: element, shape: shape.isEmpty ? nil : Array(shape.dropFirst()), bytes: try reader.raw())
        }
        return HookSession.BatchPart(microBatches: microBatches, sums: sums, drift: drift, left: left)
    }

    private mutating func list<Element>(_ read: (inout MessageReader) throws -> Element) throws -> [Element] {
        var items: [Element] = []
        for _ in 0..<(try integer()) { items.append(try read(&self)) }
        return items
    }
}
