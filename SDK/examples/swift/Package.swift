// swift-tools-version: 6.2
import PackageDescription

let name = "ExampleRule"
let sdk = "\(Context.packageDirectory)/craft-sdk"

let package = Package(
    name: name,
    products: [.library(name: name, type: .dynamic, targets: [name])],
    dependencies: [.package(path: sdk)],
    targets: [
        .target(
            name: name, dependencies: [.product(name: "PluginKit", package: "craft-sdk")], path: "Sources",
            swiftSettings: [.enableUpcomingFeature("InternalImportsByDefault")],
            // The plugin exports its entry symbol and nothing else.
            linkerSettings: [.unsafeFlags(["-use-ld=lld", "-Xlinker", "--version-script=\(sdk)/exports.map"])])
    ]
)
