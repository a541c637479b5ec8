internal import Formats
internal import Foundation
internal import Models

/// The least memory that a run can do with, from its settings and the model's configuration alone: what does not fit this machine is
/// said before any of it is asked for.
struct MemoryFloor {
    let parameters: Int
    let activations: Int
    let batches: Int
    private let settings: RunSettings
    private let folder: ModelFolder

    var total: Int { parameters + activations + batches }

    init(_ settings: RunSettings, _ folder: ModelFolder) {
        (self.settings, self.folder) = (settings, folder)
        let (config, layout) = (folder.config, folder.layout)
        let used = layout.entries.filter(\.isUsed)
        func count(_ entries: [CheckpointLayout.Entry]) -> Int { entries.reduce(0) { $0 + $1.count } }
        // Value, gradient and two moments of what is trained; the rest is read in place, in two bytes or four.
        if let adapter = settings.adapter ?? folder.adapterSettings {
            let head = count(used.filter { !$0.part.isBackbone || $0.part == .actionQueries })
            parameters =
                16 * (head + layout.adapterCount(rank: adapter.rank)) + 2 * count(used.filter(\.part.isBackbone))
        } else {
            parameters = 16 * count(used)
        }
        let images = settings.task == .demonstrations ? config.cameras : 1
        let pixels = images * config.imageSize * config.imageSize * 3
        batches = settings.batchSize.saturating(pixels).saturating(
            1 + (settings.readAhead ?? RunSettings.defaultReadAhead))
        let tokens = images * config.patchesPerImage + config.queries + 8
        // The input of every layer at least; without running blocks again also its products.
        let kept = settings.checkpointsActivations ? 1 : 8
        let hidden = tokens.saturating(config.decoder.hiddenSize).saturating(config.decoder.layers).saturating(4 * kept)
        activations = settings.batchSize.saturating(hidden.addingReportingOverflow(4 * pixels).partialValue)
    }

    /// - Throws: when this machine has less, with what would fit.
    func check(limit: Int = Self.available) throws {
        guard total > limit else { return }
        var ways: [(String, (inout RunSettings) -> Void)] = [
            ("`batchSize` 1", { $0.batchSize = 1 }),
            ("`batchSize` 1 `checkpointsActivations`", { ($0.batchSize, $0.checkpointsActivations) = (1, true) }),
        ]
        if settings.adapter == nil, folder.adapterSettings == nil {
            ways.append(
                (
                    "`adapter.rank` 32 `batchSize` 1 `checkpointsActivations`",
                    {
                        $0.adapter = AdapterSettings(rank: 32, alpha: 64)
                        ($0.batchSize, $0.checkpointsActivations) = (1, true)
                    }
                ))
        }
        let alternatives = ways.map { flags, change in
            var other = settings
            change(&other)
            let need = MemoryFloor(other, folder).total
            return "\(flags): \(Self.text(need))\(need <= limit ? ", which fits" : "")"
        }
        throw TrainingError(
            .memory,
            "\(settings.model): a run of these settings needs at least \(Self.text(total)) of memory (\(Self.text(parameters)) for "
                + "parameters, gradients and moments, \(Self.text(activations)) for activations, \(Self.text(batches)) for images), "
                + "and this process can have \(Self.text(limit)). With \(alternatives.joined(separator: "; ")). A model of 0.5 B "
                + "parameters, as VLA-Adapter trains, takes about 7 GiB with `adapter.rank` 64; craft plan tells what a run needs"
        )
    }

    private static func text(_ bytes: Int) -> String {
        bytes >= 10 << 30
            ? "\(bytes >> 30) GiB" : String(format: "%.1f GiB", Double(bytes) / Double(1 << 30))
    }

    /// Bytes that this process can still get: the machine's free memory and swap, its own limits and its group's.
    static var available: Int {
        var limits: [Int] = []
        if let text = try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8) {
            func kibibytes(_ name: String) -> Int? {
                text.split(separator: "\n").first { $0.hasPrefix(name + ":") }?
                    .split(separator: " ").dropFirst().first.flatMap { Int($0) }
            }
            if let free = kibibytes("MemAvailable") { limits.append((free + (kibibytes("SwapFree") ?? 0)) << 10) }
        }
        for resource in [RLIMIT_AS, RLIMIT_DATA] {
            var limit = rlimit()
            if getrlimit(__rlimit_resource_t(resource.rawValue), &limit) == 0, limit.rlim_cur < UInt64(Int.max) {
                limits.append(Int(limit.rlim_cur))
            }
        }
        if let text = try? String(contentsOfFile: "/sys/fs/cgroup/memory.max", encoding: .utf8),
            let bytes = Int(text.trimmingCharacters(in: .whitespacesAndNewlines))
        {
            limits.append(bytes)
        }
        return limits.min() ?? .max
    }
}

extension Int {
    /// The product, or the largest number where there is none.
    fileprivate func saturating(_ other: Int) -> Int {
        let (product, overflow) = multipliedReportingOverflow(by: other)
        return overflow ? .max >> 8 : Swift.min(product, .max >> 8)
    }
}
