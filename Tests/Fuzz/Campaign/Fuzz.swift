import Foundation
import FuzzTargets

/// Hands mutated bytes to the reader that CRAFT_FUZZ_TARGET names. Whatever they are, a reader refuses them with an error or reads
/// them; ending the process is a find. scripts/campaign.sh runs all targets.
private func fuzz(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    do {
        _ = try target.read(Array(UnsafeBufferPointer(start: bytes, count: count)))
        return 0
    } catch {
        fatalError("changes when it is written and read again: \(error)")
    }
}

private typealias Arguments = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>

/// libFuzzer's loop, for programs with a main of their own.
@_silgen_name("LLVMFuzzerRunDriver") private func runFuzzer(
    _ count: UnsafeMutablePointer<Int32>, _ arguments: UnsafeMutablePointer<Arguments>,
    _ callback: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32

/// The name under which SwiftPM looks for a program's main.
@_cdecl("craft_fuzz_main") public func fuzzMain(
    _ count: Int32, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
) -> Int32 {
    let words = CommandLine.arguments
    if words.count > 3, words[1] == "keep" {
        for file in words[3...] { keep(file, in: words[2]) }
        return 0
    }
    var (count, arguments) = (count, arguments)
    return runFuzzer(&count, &arguments, fuzz)
}

/// Copies an input to the corpus that the tests read, under a name that begins with what becomes of it.
private func keep(_ file: String, in folder: String) {
    guard let data = FileManager.default.contents(atPath: file) else { fatalError("\(file): cannot be read") }
    let name = URL(fileURLWithPath: file).lastPathComponent
    do {
        let kept = "\(folder)/\(try target.read(Array(data)) ? "read" : "refused")-\(name)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try data.write(to: URL(fileURLWithPath: kept))
    } catch {
        fatalError("\(file): \(error)")
    }
}

private let target: FuzzTarget = {
    let name = ProcessInfo.processInfo.environment["CRAFT_FUZZ_TARGET"] ?? ""
    do {
        return try FuzzTarget(name, checkout: FileManager.default.currentDirectoryPath)
    } catch {
        fatalError("CRAFT_FUZZ_TARGET is '\(name)': \(error)")
    }
}()
