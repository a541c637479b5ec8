import Foundation
import TestSupport
import Testing

/// `libcraft_mpi.so`'s source, called from C by real ranks (`Programs/ranks.c`).
@Suite(.serialized) struct ShimTests {
    private static let source = BuildFolder.repository.appendingPathComponent("Sources/CLibraries/CCraftMPI").path
    private static let environment = ["OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"]

    /// - Returns: the program's path.
    private static func build(in folder: TemporaryFolder, _ flags: [String] = []) throws -> String {
        let program = folder.path("ranks")
        let result = try Command.run(
            ["mpicc", "-O2", "-Wall", "-Wextra", "-Werror", "-I", source] + flags
                + [
                    BuildFolder.repository.appendingPathComponent("Tests/Collectives/Programs/ranks.c").path,
                    source + "/craft_mpi.c", "-o", program,
                ], environment: ["OMPI_CC": "gcc"])
        try #require(result.status == 0, "\(result.output)")
        return program
    }

    private static func run(
        _ program: String, _ ranks: Int, _ arguments: [String] = [], options: [String] = [],
        environment more: [String: String] = [:]
    ) throws -> Command.Result {
        try Command.run(
            ["mpirun", "--oversubscribe", "--bind-to", "none"] + options + ["-n", "\(ranks)", program] + arguments,
            environment: environment.merging(more) { _, new in new })
    }

    /// What is printed of the sums' bits.
    private static func hash(_ result: Command.Result) -> Substring? {
        result.standardOutput.split(separator: ",").first
    }

    @Test func sumsAreThoseOfTheRanksInOrder() throws {
        let folder = try TemporaryFolder()
        let program = try Self.build(in: folder)
        for ranks in 1...4 {
            let result = try Self.run(program, ranks)
            #expect(result.status == 0, "\(ranks) ranks: \(result.output)")
            guard ranks == 3 else { continue }
            let network = try Self.run(program, ranks, options: ["--mca", "btl", "tcp,self"])
            #expect(network.status == 0, "\(network.output)")
            #expect(Self.hash(result) != nil && Self.hash(result) == Self.hash(network), "the same bits over TCP")
        }
    }

    @Test func ranksThatDoNotComeAreNamed() throws {
        let folder = try TemporaryFolder()
        let program = try Self.build(in: folder)
        let hang = try Self.run(program, 3, ["hang", "1"])
        #expect(hang.status != 0)
        #expect(hang.standardError.contains("rank 2 on "), "\(hang.standardError)")
        #expect(hang.standardError.contains("has not come to 'gather'"), "\(hang.standardError)")
        let step = try Self.run(program, 2, ["step"])
        #expect(step.status != 0)
        #expect(step.standardError.contains("not in step"), "\(step.standardError)")
    }

    @Test func sanitizersFindNothing() throws {
        let folder = try TemporaryFolder()
        let address = try Self.build(in: folder, ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"])
        // MPI's own leaks are not ours.
        var result = try Self.run(address, 3, environment: ["ASAN_OPTIONS": "detect_leaks=0"])
        #expect(result.status == 0, "\(result.output)")
        let thread = try Self.build(in: folder, ["-g", "-fsanitize=thread"])
        result = try Self.run(thread, 2, environment: ["TSAN_OPTIONS": "ignore_noninstrumented_modules=1"])
        #expect(result.status == 0, "\(result.output)")
    }
}
