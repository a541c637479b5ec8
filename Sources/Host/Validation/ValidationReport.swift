/// One line of the result.
struct CheckReport: Codable {
    enum Status: String, Codable { case passed, failed, skipped }

    var check: String
    var title: String
    var status: Status
    /// What is wrong, or a remark.
    var message: String?
    var seconds: Double
}

/// All of a plugin's checks.
struct ValidationReport: Codable {
    var plugin: String
    var id: String?
    var version: String?
    var seed: UInt64
    var passed: Bool
    var checks: [CheckReport]

    init(_ process: CheckProcess) {
        plugin = process.path
        seed = process.seed
        passed = true
        checks = []
    }

    /// Adds a check's line. `message` is nil for one that was not made.
    mutating func add(_ check: PluginCheck, _ message: CheckMessage?, seconds: Double) -> CheckReport {
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
