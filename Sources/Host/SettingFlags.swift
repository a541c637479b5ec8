/// Flags by the keys of a run's settings: the library speaks of keys, the command of flags.
enum SettingFlags {
    /// Those that are not the key's last part with dashes.
    private static let named = [
        "learningRate": "--lr", "warmupSteps": "--warmup", "clipNorm": "--clip", "augments": "--augment",
        "usesProprio": "--proprio", "proPolicy": "--policy", "skipsNonFinite": "--on-non-finite",
        "checkpointsActivations": "--checkpoint-activations", "adapter": "--lora-rank",
        "adapter.rank": "--lora-rank", "adapter.alpha": "--lora-alpha", "optimizer.beta1": "--adam-beta1",
        "optimizer.beta2": "--adam-beta2", "optimizer.epsilon": "--adam-epsilon", "average": "--ema",
        "average.decay": "--ema", "allowsPluginChanges": "--allow-plugin-changes", "acceptsUnknown": "--any-file",
        "average.warmupPower": "--ema-warmup",
    ]

    /// Keys that sentences of the library name.
    private static let spoken: Set<String> = Set(named.keys).union([
        "model", "data", "dataset", "plugins", "steps", "seed", "batchSize", "accumulation", "learningRateScales",
        "schedule", "decayStep", "optimizer.weightDecay", "gate", "proprioGain", "proprioBandwidth", "imageSize",
        "proprioDropout", "proprioDropoutSteps", "cameras", "holdOutEvery", "shots", "shotsSeed", "statistics",
        "readAhead", "saveEvery", "keepCheckpoints", "logEvery", "evaluateEvery", "threads", "anchor",
        "matmulPrecision", "anchorPrecision", "streams", "sides", "questions", "questionLimit", "reportTo",
        "resumeStep", "promptTokens",
    ])

    /// The flag that sets what a key holds.
    static func flag(_ key: String) -> String {
        if let flag = named[key] { return flag }
        for (prefix, flag) in [("learningRateScales", "--lr-scale"), ("streams", "--stream"), ("sides", "--side")]
        where key.hasPrefix(prefix) { return flag }
        let last = key.split(separator: ".").last.map(String.init) ?? key
        return "--"
            + last.reduce(into: "") { text, character in
                text += character.isUppercase ? "-" + character.lowercased() : String(character)
            }
    }

    /// A sentence of the library, with flags in place of keys in back quotes: "`usesProprio` is false" is --no-proprio.
    static func sentence(_ text: String) -> String {
        text.replacing(/`([A-Za-z0-9.]+)`( is false)?/) { match in
            let key = String(match.1)
            guard spoken.contains(key) else { return String(match.0) }
            return match.2 == nil ? flag(key) : "--no-" + flag(key).dropFirst(2)
        }
    }
}
