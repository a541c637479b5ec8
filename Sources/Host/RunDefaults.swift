import ArgumentParser
import Foundation
import Processes
import Training

/// What a command that makes a run does where a flag is not given; its help says so.
protocol RunDefaults {
    static var settings: RunSettings { get }
    /// What help calls the folders of ``settings``.
    static var folders: (data: String, questions: String) { get }
}

/// Those of `craft train`, and of commands that take its flags.
enum TrainDefaults: RunDefaults {
    static let folders = (
        data: "the LIBERO sample that ships with craft", questions: "the held-out ones that ship with craft"
    )

    static var settings: RunSettings {
        var settings = RunSettings.training
        settings.model = Installation.model
        settings.data = Installation.data
        settings.dataset = Installation.dataset
        settings.questions = Installation.questions
        return settings
    }
}

/// Those of `craft pretrain`.
enum PretrainDefaults: RunDefaults {
    static let folders = (data: "none, it has to be given", questions: "--data")

    static var settings: RunSettings {
        var settings = RunSettings.pretraining
        settings.model = Installation.model
        return settings
    }
}

extension RunDefaults {
    /// Help of a flag, with the default behind it.
    ///
    /// - Parameter note: stands behind the default.
    static func help(
        _ text: String, _ value: (RunSettings) -> (any CustomStringConvertible)?, note: String = "",
        valueName: String? = nil
    ) -> ArgumentHelp {
        let standard = value(settings.resolved).map(Self.text) ?? "none"
        return ArgumentHelp("\(text) Default: \(standard)\(note).", valueName: valueName)
    }

    /// Help of a pair of flags, `--name` and `--no-name`.
    static func help(_ text: String, flag: String, _ isOn: (RunSettings) -> Bool) -> ArgumentHelp {
        ArgumentHelp("\(text) Default: --\(isOn(settings) ? "" : "no-")\(flag).")
    }

    private static func text(_ value: any CustomStringConvertible) -> String {
        if let number = value as? Double, let whole = Int(exactly: number) { return String(whole) }
        if let list = value as? [String] { return list.joined(separator: ",") }
        return value.description
    }
}
