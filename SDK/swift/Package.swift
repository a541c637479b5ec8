// swift-tools-version: 6.2
// What a Swift plugin builds on: PluginKit and the C header, in folders beside this file.
import PackageDescription

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

let package = Package(
    name: "craft-sdk",
    products: [.library(name: "PluginKit", targets: ["PluginKit", "PluginAPI"])],
    targets: [
        .target(name: "PluginAPI", path: "PluginAPI"),
        .target(name: "PluginKit", dependencies: ["PluginAPI"], path: "PluginKit", swiftSettings: settings),
    ]
)
