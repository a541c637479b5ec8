internal import Collectives
internal import Formats
internal import Foundation
internal import Models
internal import PluginRuntime
internal import Tensors

extension RunParts {
    /// Refuses ranks that would compute something else than the others: another craft, other plugins, model, data or settings,
    /// or another kind of processor, whose sums round differently.
    func checkEqual(_ settings: RunSettings, on ranks: any Collective) throws {
        guard !ranks.isAlone else { return }
        var facts = [
            ("craft", "\(craftVersion) \(try SHA256.digest(ofFile: "/proc/self/exe"))"),
            ("processor", Machine.processor),
            ("weights of the model", modelHash),
        ]
        for plugin in composition.plugins {
            let hashes = [plugin.sha256] + plugin.libraries.values.sorted()
            facts.append(("file of plugin \(plugin.id)", hashes.joined(separator: " ")))
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        func text(_ value: some Encodable) throws -> String {
            String(decoding: try encoder.encode(value), as: UTF8.self)
        }
        var same = settings
        // Results do not depend on how many threads a rank has.
        same.threads = 1
        facts += [
            ("settings", try text(same)), ("data", "\(source.cursor) \(try text(statistics))"),
            ("trainable values", "\(model.parameters.trainableCount)"),
        ]
        var message = MessageWriter()
        message.add(Machine.host)
        for fact in facts { message.add(fact.1) }
        var first: [String] = []
        for (rank, bytes) in try ranks.gather(message.bytes, phase: "comparing ranks", patience: 600).enumerated() {
            var reader = MessageReader(bytes)
            let host = try reader.text()
            let values = try facts.map { _ in try reader.text() }
            if rank == 0 { first = values }
            for (fact, (value, expected)) in zip(facts, zip(values, first)) where value != expected {
                let (found, wanted) = value.count + expected.count < 200 ? (" (\(value))", " (\(expected))") : ("", "")
                throw CollectiveError(
                    .unequal,
                    "rank \(rank) on \(host) has another \(fact.0)\(found) than rank 0\(wanted): the ranks would not train one "
                        + "model. Give all of them the same files on the same kind of machine")
            }
        }
    }
}

extension RunSettings {
    /// Refuses ranks that micro-batches cannot be divided among.
    func check(on ranks: any Collective) throws {
        guard accumulation % ranks.size != 0 else { return }
        throw CollectiveError(
            .indivisible,
            "\(ranks.size) ranks divide a step's micro-batches among them, and --accumulation, which counts those of all ranks, is "
                + "\(accumulation): give a multiple of \(ranks.size) (with --batch-size \(batchSize) that is "
                + "\(batchSize * ranks.size) samples a step or more)")
    }
}
