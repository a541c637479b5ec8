#!/usr/bin/env bash
# Installs what a plugin needs to build on its own, without the rest of craft: the C header, PluginKit and GradientMath for
# Swift, and the linker's list of exported symbols.
#
#   scripts/install-sdk.sh [FOLDER]          FOLDER: where to put it; default .build/sdk in this checkout
#
# C, C++, Rust:  cc -shared -fPIC -fvisibility=hidden -I FOLDER/PluginAPI/include rule.c -o libRule.so
# Swift:         CRAFT_SDK=FOLDER swift build -c release --package-path Plugins/CRaFTDual
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
folder="${1:-$root/.build/sdk}"

mkdir -p "$folder/PluginAPI/include" "$folder/PluginKit" "$folder/GradientMath"
rm -f "$folder"/PluginKit/*.swift "$folder"/GradientMath/*.swift
cp "$root/Sources/PluginAPI/include/craft_plugin.h" "$folder/PluginAPI/include/"
cp "$root"/Sources/PluginKit/*.swift "$folder/PluginKit/"
cp "$root"/Sources/GradientMath/*.swift "$folder/GradientMath/"
cp "$root/Plugins/exports.map" "$folder/"
cat > "$folder/Package.swift" <<'MANIFEST'
// swift-tools-version: 6.2
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
MANIFEST
echo "plugin SDK installed in $(cd "$folder" && pwd)"
