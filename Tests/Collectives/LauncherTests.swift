import Collectives
import Testing

@Suite struct LauncherTests {
    @Test func whatStartedAProcess() {
        #expect(Launcher.find(in: [:]) == nil)
        #expect(Launcher.find(in: ["OMPI_COMM_WORLD_SIZE": "4", "SLURM_STEP_NUM_TASKS": "2"])?.size == 4)
        #expect(Launcher.find(in: ["PMI_SIZE": "3"])?.variable == "PMI_SIZE")
        #expect(Launcher.find(in: ["SLURM_STEP_NUM_TASKS": "2"])?.size == 2)
        // A batch script has it, and runs once.
        #expect(Launcher.find(in: ["SLURM_NTASKS": "16"]) == nil)
        #expect(Launcher.find(in: ["PMI_SIZE": "many"]) == nil)
    }

    @Test func processorsAreDivided() {
        func share(_ rank: Int, _ masks: [(String, [UInt8])], processors: Int) -> ProcessorShare {
            ProcessorShare(
                of: rank, in: masks.map { ProcessorShare.Place(host: $0.0, mask: $0.1) }, processors: processors)
        }
        // Each has its own; two share all; one of two hosts has but one rank.
        #expect(share(0, [("a", [0x0f]), ("a", [0xf0])], processors: 8).threads == 4)
        #expect(share(1, [("a", [0xff]), ("a", [0xff])], processors: 8).threads == 4)
        #expect(share(0, [("a", [0xff]), ("b", [0xff])], processors: 8).threads == 8)
        #expect(share(0, [("a", [0x03]), ("a", [0x03]), ("a", [0x03])], processors: 2).threads == 1)
        #expect(share(0, [("a", [0x0f]), ("a", [0xf0])], processors: 8).note == nil)
        // What Open MPI does with two ranks.
        let bound = share(0, [("a", [0x01]), ("a", [0x02])], processors: 8)
        #expect(bound.threads == 1 && bound.note?.contains("--bind-to none") == true)
        #expect(bound.note?.contains("1 of its 8 processors, and 6 are left unused") == true)
    }

    @Test func messagesAreReadAsTheyWereWritten() throws {
        var writer = MessageWriter()
        writer.add(-7)
        writer.add(0.1)
        writer.add(nil as Double?)
        writer.add(2.5 as Double?)
        writer.add([1.0, .infinity])
        writer.add("läuft")
        writer.add([true, false, false, true, true, false, false, false, true])
        var reader = MessageReader(writer.bytes)
        #expect(try reader.integer() == -7)
        #expect(try reader.number() == 0.1)
        #expect(try reader.optionalNumber() == nil)
        #expect(try reader.optionalNumber() == 2.5)
        #expect(try reader.numbers() == [1, .infinity])
        #expect(try reader.text() == "läuft")
        #expect(try reader.flags() == [true, false, false, true, true, false, false, false, true])
        #expect(throws: CollectiveError.self) { try reader.integer() }
    }

    @Test func aLibraryThatIsNotOursIsRefused() {
        #expect(throws: CollectiveError.self) { try MPICollective(path: "/nonexistent/libcraft_mpi.so") }
        #expect(throws: CollectiveError.self) { try MPICollective(path: "libm.so.6") }
    }
}
