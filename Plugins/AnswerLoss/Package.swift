// swift-tools-version: 6.2
// Builds this plugin alone, from a copy of its folder: CRAFT_SDK is the folder that scripts/install-sdk.sh filled.
import PackageDescription

let name = "AnswerLoss"
let sdk = Context.environment["CRAFT_SDK"] ?? "\(Context.packageDirectory)/../../.build/sdk"
let sdkName = String(sdk.split(separator: "/").last ?? "sdk")

let package = Package(
    name: name,
    products: [.library(name: name, type: .dynamic, targets: [name])],
    dependencies: [.package(path: sdk)],
    targets: [
        .target(
            name: name,
            dependencies: [
                .product(name: "PluginKit", package: sdkName), .product(name: "GradientMath", package: sdkName),
            ],
            path: "Sources",
            swiftSettings: [
                .enableUpcomingFeature("ExistentialAny"),
                .enableUpcomingFeature("MemberImportVisibility"),
                .enableUpcomingFeature("InternalImportsByDefault"),
                .treatAllWarnings(as: .error),
            ],
            // The plugin exports its entry symbol and nothing else.
            linkerSettings: [
                .unsafeFlags(
                    ["-use-ld=lld", "-Xlinker", "--version-script=\(sdk)/exports.map"], .when(platforms: [.linux]))
            ])
    ]
)
