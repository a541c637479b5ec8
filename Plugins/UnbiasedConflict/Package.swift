// swift-tools-version: 6.2
// Builds this plugin alone, from a copy of its folder: CRAFT_SDK is the folder that scripts/install-sdk.sh filled.
import PackageDescription

let sdk = Context.environment["CRAFT_SDK"] ?? "\(Context.packageDirectory)/../../.build/sdk"
let products: [Target.Dependency] = [.product(name: "PluginKit", package: "sdk")]
let package = Package(
    name: "UnbiasedConflict",
    products: [.library(name: "UnbiasedConflict", type: .dynamic, targets: ["UnbiasedConflict"])],
    dependencies: [.package(name: "sdk", path: sdk)],
    targets: [.target(name: "UnbiasedConflict", dependencies: products, path: "Sources")])
