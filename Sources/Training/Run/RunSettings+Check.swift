internal import Formats
internal import Models

/// Collects what is wrong with settings, a sentence each.
///
/// Sentences name a setting by its key, in back quotes: a command puts its flag there.
struct SettingProblems {
    private(set) var sentences: [String] = []

    mutating func add(_ sentence: String) { sentences.append(sentence) }

    mutating func need(_ isRight: Bool, _ sentence: @autoclosure () -> String) {
        if !isRight { sentences.append(sentence()) }
    }

    /// A value that was not given is right.
    ///
    /// - Parameter expected: what is right, as in "expected 1 to 64".
    mutating func need<Value>(_ key: String, _ value: Value?, _ expected: String, where isRight: (Value) -> Bool) {
        if let value, !isRight(value) { sentences.append("`\(key)` is \(value); expected \(expected)") }
    }
}

extension RunSettings {
    /// Refuses values that cannot work, all of them in one error.
    package func check() throws {
        var problems = SettingProblems()
        checkSchedule(&problems)
        checkModel(&problems)
        checkData(&problems)
        optimizer.check(&problems)
        average?.check(&problems)
        problems.need("saveEvery", saveEvery, "0 (last step only) or more") { $0 >= 0 }
        problems.need("keepCheckpoints", keepCheckpoints, "at least 1") { $0 >= 1 }
        problems.need("evaluateEvery", evaluateEvery, "at least 1") { $0 >= 1 }
        problems.need("logEvery", logEvery, "at least 1") { $0 >= 1 }
        problems.need("threads", threads, "1 to 64") { (1...64).contains($0) }
        problems.need(!plugins.isEmpty, "`plugins` is empty; name at least one, BaselineL1 for instance")
        guard problems.sentences.isEmpty else {
            throw TrainingError(.settings, problems.sentences.joined(separator: "\n"))
        }
    }

    private func checkSchedule(_ problems: inout SettingProblems) {
        problems.need("steps", steps, "at least 1") { $0 >= 1 }
        problems.need("batchSize", batchSize, "1 to 65536") { (1...65_536).contains($0) }
        problems.need("accumulation", accumulation, "1 to 65536") { (1...65_536).contains($0) }
        problems.need("learningRate", learningRate, "a number above 0 and at most 10") { $0 > 0 && $0 <= 10 }
        if let learningRateScales {
            do { try learningRateScales.check("`learningRateScales`") } catch { problems.add("\(error)") }
        }
        problems.need("warmupSteps", warmupSteps, "0 or more") { $0 >= 0 }
        problems.need("decayStep", decayStep, "0 or more") { $0 >= 0 }
        problems.need("clipNorm", clipNorm, "0 (off) or a positive number") { $0.isFinite && $0 >= 0 }
    }

    private func checkModel(_ problems: inout SettingProblems) {
        problems.need("gate", gate, "a number from -10 to 10") { abs($0) <= 10 }
        for (key, factor) in proprioFactors {
            problems.need(key, factor, "a number above 0 and at most 10000") { $0 > 0 && $0 <= 10_000 }
        }
        problems.need(
            "proprioDropout", proprioDropout,
            "a probability, 0 or more and below 1 (1 would be: `usesProprio` is false)"
        ) { (0..<1).contains($0) }
        problems.need("proprioDropoutSteps", proprioDropoutSteps, "0 or more") { $0 >= 0 }
        problems.need(
            proprioDropoutSteps == nil || proprioDropout != nil,
            "`proprioDropoutSteps` is given without `proprioDropout`; give both")
        problems.need("imageSize", imageSize, "1 to 4096 pixels") { (1...4096).contains($0) }
        problems.need("adapter.rank", adapter?.rank, "1 to 4096") { (1...4096).contains($0) }
        problems.need("adapter.alpha", adapter?.alpha, "a positive number") { $0.isFinite && $0 > 0 }
        problems.need(
            adapter != nil || anchor != .adaptersOff,
            "`anchor` is adaptersOff, which needs `adapter.rank`: without adapters there is nothing to switch off")
    }

    private func checkData(_ problems: inout SettingProblems) {
        problems.need("holdOutEvery", holdOutEvery, "0 (none) or at least 2") { $0 == 0 || $0 >= 2 }
        problems.need("shots", shots, "at least 1") { $0 >= 1 }
        problems.need(shotsSeed == nil || shots != nil, "`shotsSeed` is given without `shots`; give both")
        problems.need("readAhead", readAhead, "0 (off) to 1024 batches") { (0...1_024).contains($0) }
        problems.need((1...3).contains(cameras.count), "`cameras` names \(cameras.count) cameras; expected 1 to 3")
    }
}
