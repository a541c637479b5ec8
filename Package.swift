// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .treatAllWarnings(as: .error),
    // Without it every squareRoot() keeps a libm errno branch and the loop around it stays scalar.
    .unsafeFlags(["-Xcc", "-fno-math-errno"]),
]

// Debug builds too: tests run the real kernels, and unoptimised ones are fifty times slower.
let kernelC: [CSetting] = [
    .unsafeFlags(["-O3", "-fno-math-errno", "-ffp-contract=fast", "-fvisibility=hidden"])
]

// What a library exports, and nothing else. The default linker, gold, would keep local symbols of Swift metadata in the
// dynamic table.
func exports(_ map: String) -> [LinkerSetting] {
    [
        .unsafeFlags(
            ["-use-ld=lld", "-Xlinker", "--version-script=\(Context.packageDirectory)/\(map)"],
            .when(platforms: [.linux]))
    ]
}

/// The plugins that ship with craft. Each is a dynamic library that the host finds at run time; no target links one. A list,
/// not what Plugins/ holds: SwiftPM keeps an evaluated manifest until its text changes, and would not see a new folder.
let plugins = [
    "AnchorVariants", "AugmentedLagrangian", "CRaFTDual", "CRaFTProjection", "EarlyStop", "FixedMultiplier",
    "KnowledgeInsulation", "L2SP", "LayerRates", "ProbeTokens", "UnbiasedConflict", "nuPI",
]

/// Those that also use GradientMath.
let gradientPlugins = [
    "AEGIS", "AGEM", "ActionAnchor", "AlignedMTL", "AnswerLoss", "BaselineL1", "CAGrad", "ClipGradNorm",
    "CoTraining", "ConFIG", "Constant", "DWA", "DualProj", "EWC", "FAMO", "FairGrad", "GeometricMean",
    "GradDrop", "GradNorm", "GradVac", "IMTLG", "IMTLL", "MGDA", "Mean", "MoCo", "MoDo", "MultiplierSchedule",
    "NashMTL",
    "PCGrad", "RLW", "Replay", "STCH", "Sum", "UPGrad", "UW",
]

func plugin(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(
        name: name, dependencies: ["PluginKit", "PluginAPI"] + dependencies, path: "Plugins/\(name)/Sources",
        swiftSettings: strict, linkerSettings: exports("Plugins/exports.map"))
}

/// `scripts/campaign.sh` builds it, with libFuzzer's own main.
let fuzzers: [Target] =
    Context.environment["CRAFT_FUZZ"] == nil
    ? []
    : [
        .executableTarget(
            name: "craft-fuzz", dependencies: ["FuzzTargets"], path: "Tests/Fuzz/Campaign",
            swiftSettings: strict + [.unsafeFlags(["-parse-as-library"])],
            linkerSettings: [.unsafeFlags(["-use-ld=lld"], .when(platforms: [.linux]))])
    ]

func systemLibrary(_ name: String, pkgConfig: String, apt: String) -> Target {
    .systemLibrary(
        name: name, path: "Sources/CLibraries/\(name)", pkgConfig: pkgConfig, providers: [.apt([apt])])
}

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
    .testTarget(
        name: "\(name)Tests", dependencies: dependencies + ["TestSupport"], path: "Tests/\(name)", exclude: exclude,
        swiftSettings: strict)
}

let package = Package(
    name: "craft",
    products: [
        .executable(name: "craft", targets: ["craft"]),
        .library(name: "PluginKit", targets: ["PluginKit"]),
        .library(name: "craft_runtime", type: .dynamic, targets: ["RuntimeC"]),
    ] + (plugins + gradientPlugins).map { .library(name: $0, type: .dynamic, targets: [$0]) },
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    ],
    targets: [
        // MARK: - C boundary
        .target(name: "PluginAPI"),
        .target(name: "Kernels", cSettings: kernelC),
        systemLibrary("COpenBLAS", pkgConfig: "openblas", apt: "libopenblas-dev"),
        systemLibrary("CFFI", pkgConfig: "libffi", apt: "libffi-dev"),
        systemLibrary("CJPEG", pkgConfig: "libjpeg", apt: "libjpeg-dev"),
        systemLibrary("CPNG", pkgConfig: "libpng", apt: "libpng-dev"),
        .target(name: "ImageCodecs", dependencies: ["CJPEG", "CPNG"]),
        .target(name: "VideoCodecs"),
        .systemLibrary(name: "CMalloc", path: "Sources/CLibraries/CMalloc"),
        .systemLibrary(name: "CMemoryMap", path: "Sources/CLibraries/CMemoryMap"),
        .systemLibrary(name: "CProcessors", path: "Sources/CLibraries/CProcessors"),
        .systemLibrary(name: "CCraftMPI", path: "Sources/CLibraries/CCraftMPI"),
        .systemLibrary(name: "CFloatingPoint", path: "Sources/CLibraries/CFloatingPoint"),
        systemLibrary("CCrypto", pkgConfig: "libcrypto", apt: "libssl-dev"),

        // MARK: - Plugins
        .target(name: "PluginKit", dependencies: ["PluginAPI"], swiftSettings: strict),
        .target(name: "GradientMath", dependencies: ["PluginKit"], swiftSettings: strict),
        .target(
            name: "PluginRuntime", dependencies: ["Spelling", "PluginAPI", "CFFI", "CMemoryMap", "CFloatingPoint"],
            swiftSettings: strict),
        .systemLibrary(name: "CRuntime", path: "Sources/RuntimeC/include"),
        .target(
            name: "RuntimeC", dependencies: ["Spelling", "PluginRuntime", "PluginAPI", "CRuntime", "Kernels"],
            exclude: ["include", "exports.map"], swiftSettings: strict,
            linkerSettings: exports("Sources/RuntimeC/exports.map")),
    ]
        + plugins.map { plugin($0) } + gradientPlugins.map { plugin($0, ["GradientMath"]) } + [
            // MARK: - Trainer
            .target(name: "Tensors", dependencies: ["Kernels", "COpenBLAS"], swiftSettings: strict),
            .target(name: "Spelling", swiftSettings: strict),
            .target(name: "Formats", dependencies: ["Kernels", "CCrypto"], swiftSettings: strict),
            .target(
                name: "Collectives", dependencies: ["Formats", "CCraftMPI", "CProcessors"], swiftSettings: strict),
            .target(name: "Models", dependencies: ["Formats", "Tensors", "Kernels"], swiftSettings: strict),
            .target(
                name: "Data", dependencies: ["Formats", "Spelling", "Kernels", "ImageCodecs", "VideoCodecs"],
                swiftSettings: strict),
            .target(
                name: "Training",
                dependencies: ["Formats", "Collectives", "PluginRuntime", "Tensors", "Models", "Data", "Kernels"],
                swiftSettings: strict),
            .target(
                name: "Serving",
                dependencies: [
                    "Collectives", "Training", "Models", "Data", "Formats", "Tensors",
                    .product(name: "NIOCore", package: "swift-nio"),
                    .product(name: "NIOPosix", package: "swift-nio"),
                    .product(name: "NIOHTTP1", package: "swift-nio"),
                    .product(name: "NIOWebSocket", package: "swift-nio"),
                ],
                swiftSettings: strict),
            .target(name: "Processes", dependencies: ["PluginRuntime"], swiftSettings: strict),
            .target(
                name: "Conformance",
                dependencies: ["Formats", "Spelling", "Processes", "Training", "PluginRuntime", "CMalloc"],
                swiftSettings: strict),
            .target(
                name: "Compatibility",
                dependencies: ["Formats", "Spelling", "Processes", "Training", "PluginRuntime", "Models", "Yams"],
                swiftSettings: strict),
            .target(
                name: "Experiments", dependencies: ["Formats", "Processes", "Training", "PluginRuntime", "Yams"],
                swiftSettings: strict),
            .target(name: "Templates", dependencies: ["Formats", "Processes"], swiftSettings: strict),
            .target(name: "Simulation", dependencies: ["Formats", "Processes", "Training"], swiftSettings: strict),
            .executableTarget(
                name: "craft",
                dependencies: [
                    "Conformance", "Compatibility", "Experiments", "Simulation", "Templates",
                    "Processes",
                    "Serving", "Training", "Collectives", "PluginRuntime", "Models", "Data", "Formats", "Spelling",
                    "Tensors",
                    .product(name: "ArgumentParser", package: "swift-argument-parser"),
                ],
                path: "Sources/Host", swiftSettings: strict),

            // MARK: - Tests (never link a plugin: they are opened from the build folder, as a user's host would)
            .target(name: "TestSupport", path: "Tests/Support", swiftSettings: strict),
            tests("PluginRuntime", ["PluginRuntime", "PluginAPI"]),
            tests("RuntimeC", ["PluginRuntime"], exclude: ["Programs"]),
            tests("Plugins", ["PluginRuntime", "PluginAPI", "Training", "GradientMath"]),
            tests("Kernels", ["Kernels"]),
            tests("Tensors", ["Formats", "Tensors", "Kernels"]),
            tests("Formats", ["Formats", "Spelling"]),
            tests("Collectives", ["Collectives", "Formats"], exclude: ["Programs"]),
            tests("Models", ["Models", "Formats", "Tensors"]),
            tests("Data", ["Data", "Formats"]),
            tests("Training", ["Formats", "Training", "PluginRuntime", "Models", "Tensors", "Data"]),
            tests("Serving", ["Formats", "Serving", "Training", "PluginRuntime", "Data"]),
            tests("Conformance", ["Conformance", "Formats", "PluginRuntime"]),
            tests("Compatibility", ["Compatibility", "Formats", "Training"]),
            tests("Experiments", ["Experiments", "Formats", "Training", "PluginRuntime"]),
            tests("Simulation", ["Simulation", "Formats"]),
            tests("Templates", ["Templates", "Formats"]),
            tests("Host", ["Formats", "Data", "Models"], exclude: ["BadPlugins", "Help"]),
            tests("Fuzz", ["FuzzTargets"], exclude: ["Campaign", "Corpus", "Targets"]),
            .target(
                name: "FuzzTargets",
                dependencies: ["Formats", "Data", "Models", "PluginRuntime", "Serving", "Experiments"],
                path: "Tests/Fuzz/Targets", swiftSettings: strict),
        ] + fuzzers
)
