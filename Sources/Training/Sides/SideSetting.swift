internal import Formats

/// Values by sample that the user gives plugins: `--side NAME=FILE`.
package struct SideSetting: Codable, Equatable, Sendable {
    /// Plugins read it as `side.NAME`.
    package var name: String
    package var path: String

    package init(name: String, path: String) { (self.name, self.path) = (name, path) }

    /// Reads `NAME=FILE` texts.
    package static func parse(_ texts: [String]) throws -> [SideSetting] {
        var settings: [SideSetting] = []
        for text in texts {
            let halves = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard halves.count == 2, !halves[0].isEmpty, !halves[1].isEmpty,
                halves[0].utf8.allSatisfy({ StreamSetting.isNameCharacter($0) })
            else {
                throw TrainingError(
                    .settings,
                    "`sides` is '\(text)'; expected NAME=FILE, a safetensors file of values by sample that plugins read as "
                        + "side.NAME (letters, digits, - and _)")
            }
            guard !settings.contains(where: { $0.name == halves[0] }) else {
                throw TrainingError(.settings, "`sides` gives '\(halves[0])' twice; each has one name and one file")
            }
            settings.append(SideSetting(name: halves[0], path: halves[1]))
        }
        return settings
    }
}
