/// One line of the result.
package struct CheckReport: Codable {
    package enum Status: String, Codable { case passed, failed, skipped }

    package var check: String
    package var title: String
    package var status: Status
    /// What is wrong, or a remark.
    package var message: String?
    package var seconds: Double
}

/// All of a plugin's checks.
package struct ValidationReport: Codable {
    package var plugin: String
    package var id: String?
    package var version: String?
    package var seed: UInt64
    package var passed: Bool
    package var checks: [CheckReport]

    package init(_ process: CheckProcess) {
        plugin = process.path
        seed = process.seed
        passed = true
        checks = []
    }

    /// Adds a check's line. `message` is nil for one that was not made.
    package mutating func add(_ check: PluginCheck, _ message: CheckMessage?, seconds: Double) -> CheckReport {
        var report = CheckReport(check: check.rawValue, title: check.title, status: .skipped, seconds: seconds)
        if let message {
            report.status = message.problem == nil ? .passed : .failed
            report.message = message.problem ?? message.note
            if check == .load { (id, version) = (message.id, message.version) }
        }
        if report.status == .failed { passed = false }
        checks.append(report)
        return report
    }
}
