#!/usr/bin/env bash
# Installs what plugins need to build on their own, without the rest of craft: the C and C++ headers, PluginKit and
# GradientMath for Swift, the Rust crate, the linker's list of exported symbols, and the examples that `craft plugins new` copies.
#
#   scripts/install-sdk.sh [FOLDER]          FOLDER: where to put it; default .build/sdk in this checkout
#
# C:      cc  -shared -fPIC -fvisibility=hidden -I FOLDER/PluginAPI/include Rule.c -o libRule.so -lm
# C++:    c++ -std=c++20 -shared -fPIC -fvisibility=hidden -I FOLDER/PluginAPI/include Rule.cpp -o libRule.so
# Rust:   craft-plugin = { path = "FOLDER/rust" } in Cargo.toml
# Swift:  CRAFT_SDK=FOLDER swift build -c release --package-path Plugins/CRaFTDual
#
# A `craft` that lies elsewhere finds the SDK through the environment: CRAFT_SDK=FOLDER craft plugins new ...
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
folder="${1:-$root/.build/sdk}"

mkdir -p "$folder/PluginAPI" "$folder/PluginKit" "$folder/GradientMath"
rm -rf "$folder"/PluginKit/*.swift "$folder"/GradientMath/*.swift "$folder/PluginAPI/include" "$folder/rust" "$folder/examples"
cp -r "$root/Sources/PluginAPI/include" "$folder/PluginAPI/"
cp "$root"/Sources/PluginKit/*.swift "$folder/PluginKit/"
cp "$root"/Sources/GradientMath/*.swift "$folder/GradientMath/"
mkdir -p "$folder/rust"
cp -r "$root"/SDK/rust/{Cargo.toml,src} "$folder/rust/"
cp -r "$root/SDK/examples" "$folder/"
cp "$root/SDK/swift/Package.swift" "$root/Plugins/exports.map" "$folder/"
echo "plugin SDK installed in $(cd "$folder" && pwd)"
