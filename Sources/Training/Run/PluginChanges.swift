internal import Formats
internal import Foundation
internal import PluginRuntime

/// How the plugins of a resumed run differ from those it began with.
///
/// A run continues with the plugins it began with, to the byte, unless its user says otherwise.
struct PluginChanges {
    /// What is compared of a plugin: a part of `plan.json`.
    private struct Recorded: Decodable {
        struct Plugin: Decodable {
            var instance: String
            var id: String
            var sha256: String
            /// Missing in plans of earlier versions.
            var libraries: [String: String]?
            var settings: [String: String]
        }
        var plugins: [Plugin]
    }

    /// One sentence each; empty when nothing differs.
    let sentences: [String]
    /// Instances that are of the same plugin as before: what is saved of them is theirs.
    let kept: Set<String>

    /// Throws ``TrainingError`` when the run's plan cannot be read.
    init(of composition: Composition, since run: RunDirectory) throws {
        guard let data = FileManager.default.contents(atPath: run.planPath),
            let plan = try? JSONDecoder().decode(Recorded.self, from: data)
        else { throw TrainingError(.malformed, "\(run.planPath): not the plan of a run") }
        var sentences: [String] = []
        var kept: Set<String> = []
        for old in plan.plugins where !composition.plugins.contains(where: { $0.instance == old.instance }) {
            sentences.append("\(old.instance) is no longer in the list")
        }
        for now in composition.plugins {
            guard let old = plan.plugins.first(where: { $0.instance == now.instance }) else {
                sentences.append("\(now.instance) was not in the list")
                continue
            }
            guard old.id == now.id else {
                sentences.append("\(now.instance) was \(old.id), not \(now.id)")
                continue
            }
            kept.insert(now.instance)
            if old.sha256 != now.sha256 {
                sentences.append(
                    "the file of \(now.instance) changed (SHA-256 \(now.sha256.prefix(12))…, then \(old.sha256.prefix(12))…)"
                )
            }
            for (name, hash) in now.libraries.sorted(by: { $0.key < $1.key }) where old.libraries != nil {
                guard let before = old.libraries?[name] else {
                    sentences.append("\(now.instance) brings \(name), which it did not before")
                    continue
                }
                guard before != hash else { continue }
                sentences.append(
                    "\(name), which \(now.instance) brings, changed (SHA-256 \(hash.prefix(12))…, then \(before.prefix(12))…)"
                )
            }
            for key in Set(old.settings.keys).union(now.settings.keys).sorted() {
                let (before, after) = (old.settings[key], now.settings[key])
                guard before != after else { continue }
                sentences.append(
                    "\(now.instance) had \(key)=\(before ?? "(no such setting)"), now \(after ?? "(no such setting)")")
            }
        }
        let order = composition.plugins.map(\.instance).filter(kept.contains)
        if order != plan.plugins.map(\.instance).filter(kept.contains) {
            sentences.append("the list has another order: \(order.joined(separator: ", "))")
        }
        self.sentences = sentences
        self.kept = kept
    }

    /// Throws ``TrainingError`` with every difference.
    func refuse(of run: RunDirectory) throws {
        guard !sentences.isEmpty else { return }
        throw TrainingError(
            .changed,
            "\(run.path) began with other plugins: \(sentences.joined(separator: "; ")). Resume with those it began with, "
                + "say `allowsPluginChanges` to go on with these, or start a new run")
    }
}
