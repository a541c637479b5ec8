// swift-tools-version: 6.2
// What a Swift plugin builds on: PluginKit, GradientMath and the C header, in folders beside this file.
import PackageDescription

// A plugin that links the kit exports its entry symbol and nothing else. The default linker, gold, would keep local symbols
// of Swift metadata in the dynamic table.
let link: [LinkerSetting] = [
    .unsafeFlags(
        ["-use-ld=lld", "-Xlinker", "--version-script=\(Context.packageDirectory)/exports.map"],
        .when(platforms: [.linux]))
]

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

let package = Package(
    name: "craft-sdk",
    products: [
        .library(name: "PluginKit", targets: ["PluginKit", "PluginAPI"]),
        .library(name: "GradientMath", targets: ["GradientMath"]),
    ],
    targets: [
        .target(name: "PluginAPI", path: "PluginAPI"),
        .target(
            name: "PluginKit", dependencies: ["PluginAPI"], path: "PluginKit", swiftSettings: settings,
            linkerSettings: link),
        .target(name: "GradientMath", dependencies: ["PluginKit"], path: "GradientMath", swiftSettings: settings),
    ]
)
