// swift-tools-version: 6.2
// Builds this plugin alone, from a copy of its folder: CRAFT_SDK is the folder that scripts/install-sdk.sh filled.
import PackageDescription

let sdk = Context.environment["CRAFT_SDK"] ?? "\(Context.packageDirectory)/../../.build/sdk"
let products: [Target.Dependency] = [
    .product(name: "PluginKit", package: "sdk"), .product(name: "GradientMath", package: "sdk"),
]
let package = Package(
    name: "GradDrop", products: [.library(name: "GradDrop", type: .dynamic, targets: ["GradDrop"])],
    dependencies: [.package(name: "sdk", path: sdk)],
    targets: [.target(name: "GradDrop", dependencies: products, path: "Sources")])
