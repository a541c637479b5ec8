import Foundation
import FuzzTargets
import TestSupport
import Testing

/// Inputs that the fuzzer's campaign began with or found, one folder a reader. None ends the process or takes long, and those whose
/// name begins with read- or refused- are read or refused.
@Suite struct CorpusTests {
    private static let corpus = BuildFolder.repository.appendingPathComponent("Tests/Fuzz/Corpus")

    @Test func everyReaderHasACorpus() throws {
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: Self.corpus.path).sorted() == FuzzTarget.names.sorted())
    }

    @Test(arguments: FuzzTarget.names) func everyInputIsReadOrRefused(_ name: String) throws {
        let target = try FuzzTarget(name, checkout: BuildFolder.repository.path)
        let folder = Self.corpus.appendingPathComponent(name)
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        #expect(files.count > 3)
        for file in files {
            let bytes = [UInt8](try Data(contentsOf: folder.appendingPathComponent(file)))
            let began = ContinuousClock.now
            let isRead = try target.read(bytes)
            if file.hasPrefix("read-") { #expect(isRead, "\(name)/\(file)") }
            if file.hasPrefix("refused-") { #expect(!isRead, "\(name)/\(file)") }
            #expect(began.duration(to: .now) < .seconds(20), "\(name)/\(file)")
        }
    }
}
