import ArgumentParser
import Formats
import Models
import PluginRuntime
import Serving
import Templates
import Training

// Choices that flags take by their raw values; help and messages list them.
extension LearningRateSchedule.Kind: ExpressibleByArgument {}
extension RunSettings.StatisticsRule: ExpressibleByArgument {}
extension RunSettings.AnchorChoice: ExpressibleByArgument {}
extension RunSettings.MatmulPrecision: ExpressibleByArgument {}
extension BenchmarkSettings.Clock: ExpressibleByArgument {}
extension ServedProtocol: ExpressibleByArgument {}
extension ModelBlend.Method: ExpressibleByArgument {}
extension PluginLanguage: ExpressibleByArgument {}

/// The two action heads.
enum ActionHead: String, CaseIterable, ExpressibleByArgument {
    case pro, base
}

/// What a step does about a loss that is not a number.
enum NonFiniteRule: String, CaseIterable, ExpressibleByArgument {
    case error, skip
}

/// Programs that a run is reported to, by name and separated by commas, or `none`.
struct ReportTargets: ExpressibleByArgument {
    let targets: [ReportTarget]

    static let allValueStrings = ReportTarget.allCases.map(\.rawValue) + ["none"]

    init?(argument: String) {
        let names = argument == "none" ? [] : argument.split(separator: ",")
        targets = names.compactMap { ReportTarget(rawValue: String($0)) }
        guard targets.count == names.count else { return nil }
    }
}

/// The type of stored weights, also by the names that PyTorch and others have for it.
struct StorageArgument: ExpressibleByArgument {
    let storage: SafetensorsWriter.Tensor.FloatStorage

    private static let names: [(name: String, storage: SafetensorsWriter.Tensor.FloatStorage)] = [
        ("f32", .f32), ("bf16", .bf16), ("f16", .f16), ("fp32", .f32), ("float32", .f32), ("bfloat16", .bf16),
        ("fp16", .f16), ("float16", .f16),
    ]

    static let f32 = StorageArgument(storage: .f32)
    static let bf16 = StorageArgument(storage: .bf16)
    static let allValueStrings = ["f32", "bf16", "f16"]

    init(storage: SafetensorsWriter.Tensor.FloatStorage) { self.storage = storage }

    init?(argument: String) {
        guard let storage = Self.names.first(where: { $0.name == argument })?.storage else { return nil }
        self.storage = storage
    }

    var defaultValueDescription: String { Self.names.first { $0.storage == storage }?.name ?? "" }
}
