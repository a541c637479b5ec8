// swift-tools-version: 6.2
// What a Swift plugin builds on: PluginKit, GradientMath and the C header, in folders beside this file.
import PackageDescription

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
        .target(name: "PluginKit", dependencies: ["PluginAPI"], path: "PluginKit", swiftSettings: settings),
        .target(name: "GradientMath", dependencies: ["PluginKit"], path: "GradientMath", swiftSettings: settings),
    ]
)
