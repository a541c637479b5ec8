// swift-tools-version: 6.2
import PackageDescription

let name = "ExampleRule"
let package = Package(
    name: name, products: [.library(name: name, type: .dynamic, targets: [name])],
    dependencies: [.package(path: "craft-sdk")],
    targets: [
        .target(
            name: name, dependencies: [.product(name: "PluginKit", package: "craft-sdk")], path: "Sources",
            swiftSettings: [.enableUpcomingFeature("InternalImportsByDefault")])
    ]
)
