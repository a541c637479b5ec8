internal import Formats
internal import PluginRuntime

/// Data beside the run's own, as the user gives them: `--stream NAME=KIND:FOLDER`.
package struct StreamSetting: Codable, Equatable, Sendable {
    /// What the data are.
    package enum Kind: String, Codable, CaseIterable, Sendable {
        case demonstrations, questions

        /// As plugins know it.
        var code: StreamKind {
            switch self {
            case .demonstrations: .demonstrations
            case .questions: .questions
            }
        }
    }

    /// As plugins call it.
    package var name: String
    package var kind: Kind
    package var path: String

    package init(name: String, kind: Kind, path: String) {
        (self.name, self.kind, self.path) = (name, kind, path)
    }

    /// Reads `NAME=KIND:FOLDER` texts; one text may hold several, separated by commas.
    package static func parse(_ texts: [String]) throws -> [StreamSetting] {
        var settings: [StreamSetting] = []
        for text in texts {
            for (place, piece) in text.split(separator: ",", omittingEmptySubsequences: false).enumerated() {
                if let setting = StreamSetting(piece) {
                    guard !settings.contains(where: { $0.name == setting.name }) else {
                        throw TrainingError(
                            .settings,
                            "`streams` gives '\(setting.name)' twice; each stream has one name and one folder"
                        )
                    }
                    settings.append(setting)
                } else if place > 0 {
                    // A comma of the folder's own name.
                    settings[settings.count - 1].path += ",\(piece)"
                } else {
                    throw TrainingError(
                        .settings,
                        "`streams` is '\(text)'; expected NAME=questions:FOLDER or NAME=demonstrations:FOLDER, NAME being that "
                            + "by which plugins ask for the data (letters, digits, - and _)")
                }
            }
        }
        return settings
    }

    private init?(_ text: some StringProtocol) {
        let halves = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard halves.count == 2 else { return nil }
        let rest = halves[1].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard rest.count == 2, let kind = Kind(rawValue: String(rest[0])), !rest[1].isEmpty, !halves[0].isEmpty,
            halves[0].utf8.allSatisfy({ Self.isNameCharacter($0) })
        else { return nil }
        self.init(name: String(halves[0]), kind: kind, path: String(rest[1]))
    }

    static func isNameCharacter(_ character: UInt8) -> Bool {
        switch character {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    /// What to do about a stream that a plugin asks for and the run does not have, or has of another kind.
    static func advice(_ name: String, _ kind: StreamKind?) -> String {
        let kinds = kind.map { ["\($0)"] } ?? Kind.allCases.map(\.rawValue)
        return "give `streams` \(kinds.map { "\(name)=\($0):FOLDER" }.joined(separator: " or "))"
    }
}
