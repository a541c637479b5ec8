import Formats
import Foundation
import Models
import Training

/// The rule of `--resume`, for every command: a run goes on with the settings it began with. What is given is compared with them;
/// the same is harmless, anything else is refused by the flag's name.
struct ResumedSettings {
    private let stored: RunSettings
    private let path: String

    /// - Parameter run: the folder of the run.
    init(run: String) throws {
        path = run + "/config.json"
        guard FileManager.default.fileExists(atPath: run + "/run.json") else {
            throw CommandError(
                .missingFile,
                "\(run): is not the folder of a run: it has no run.json; --resume takes one that craft made")
        }
        stored = try RunSettings.read(path)
    }

    /// - Parameters:
    ///   - options: what is given. Steps, plugins and their settings may be others; whether the plugins are the run's is found when
    ///     it is opened.
    ///   - allowsData: whether other data may be named as well.
    func check(_ options: TrainingOptions<some RunDefaults>, allowsData: Bool) throws {
        var stored = stored
        var given = try options.settings(over: stored, isAssigning: false)
        given.steps = stored.steps
        (given.plugins, given.pluginPath) = ([], [])
        (stored.plugins, stored.pluginPath) = ([], [])
        if allowsData { (given.data, given.dataset) = (stored.data, stored.dataset) }
        let (before, after) = (try resolved(stored), try resolved(given))
        let differences = Set(before.keys).union(after.keys).sorted().filter { before[$0] != after[$0] }
        guard differences.isEmpty else {
            let sentences = differences.map { key in
                "\(SettingFlags.flag(key)) is \(after[key] ?? "none"), but the run has \(before[key] ?? "none")"
            }
            throw CommandError(
                .otherSettings,
                sentences.joined(separator: "\n")
                    + "\n\(path): --resume goes on with the settings the run began with. Give --steps, "
                    + (allowsData ? "--data and --dataset for other data, " : "")
                    + "and --plugins or --set to change plugins; leave the others out, or start a new run with --out")
        }
    }

    /// Settings as texts by dotted key, with what nothing was said about filled in, so that a default that is given equals one
    /// that is not.
    private func resolved(_ settings: RunSettings) throws -> [String: String] {
        var settings = settings.resolved
        let model = try? ModelConfig(folder: settings.model)
        settings.imageSize = settings.imageSize ?? model?.imageSize
        settings.usesProprio = settings.usesProprio ?? model?.usesProprio
        settings.proPolicy = settings.proPolicy ?? model?.policy.pro
        for key in [\RunSettings.model, \.data, \.questions] where !settings[keyPath: key].isEmpty {
            settings[keyPath: key] = URL(fileURLWithPath: settings[keyPath: key]).standardizedFileURL.path
        }
        let object = try JSONSerialization.jsonObject(with: JSONEncoder().encode(settings))
        var texts: [String: String] = [:]
        Self.flatten(object, at: "", into: &texts)
        return texts
    }

    private static func flatten(_ value: Any, at key: String, into texts: inout [String: String]) {
        switch value {
        case let object as [String: Any]:
            for (name, child) in object { flatten(child, at: key.isEmpty ? name : "\(key).\(name)", into: &texts) }
        case let list as [[String: Any]]:
            for (index, child) in list.enumerated() { flatten(child, at: "\(key).\(index)", into: &texts) }
        case let list as [Any]: texts[key] = list.map { "\($0)" }.joined(separator: ",")
        // Foundation's numbers print true as 1; a Boolean's type is C's signed char.
        case let number as NSNumber where String(cString: number.objCType) == "c":
            texts[key] = number.boolValue ? "true" : "false"
        default: texts[key] = "\(value)"
        }
    }
}
