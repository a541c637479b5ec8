import Foundation
import Glibc
import TestSupport
import Testing

/// Runs of the real command on several ranks of this machine, under the real `mpirun`.
extension HostTests {
    @Suite struct RankTests {
        private static let four = CraftCommand.four
        private static let three = "BaselineL1,AnchorVariants,near=AnchorVariants:type=raw_only:objective=near,UPGrad"

        /// What roundings of gradients may grow to in a few steps: AdamW divides a gradient by its own size, so that one that is all
        /// rounding moves its parameter as far as any other.
        private static let afterUpdates = 1e-4

        /// `mpirun` with these ranks; root may start it, as it does in containers.
        private static func launch(_ ranks: Int, _ options: [String] = []) -> [String] {
            ["mpirun", "--oversubscribe", "--bind-to", "none"] + options + ["-n", "\(ranks)"]
        }
        private static let environment = [
            "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "CRAFT_ASSETS": CraftCommand.assets,
        ]

        private static func run(
            _ ranks: Int, _ arguments: [String], options: [String] = [], environment more: [String: String] = [:]
        ) throws -> Command.Result {
            try Command.run(
                launch(ranks, options) + [BuildFolder.craft] + arguments,
                environment: environment.merging(more) { _, new in new })
        }

        private static func arguments(
            _ plugins: String, steps: Int, out: String, accumulation: Int, _ more: [String] = []
        ) -> [String] {
            CraftCommand.trainArguments(
                plugins, steps: steps, out: out,
                ["--accumulation", "\(accumulation)", "--batch-size", "1", "--threads", "1"] + more)
        }

        private static func metrics(of run: String) throws -> [[String: Double]] {
            try String(contentsOfFile: run + "/metrics.jsonl", encoding: .utf8).split(separator: "\n").map { line in
                let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] ?? [:]
                return object.compactMapValues { $0 as? Double }.filter { !["ms", "time"].contains($0.key) }
            }
        }

        private static func tensors(of run: String, step: String, _ name: String = "model.safetensors") -> Data? {
            FileManager.default.contents(atPath: "\(run)/checkpoints/\(step)/\(name)")
        }

        /// Largest difference of the float32 values behind the headers, and the norm of the differences relative to the values'.
        private static func difference(_ one: Data, _ other: Data) -> (largest: Double, relative: Double)? {
            guard one.count == other.count, one.count > 8 else { return nil }
            func values(_ data: Data) -> [Float] {
                data.withUnsafeBytes { raw in
                    let start = 8 + Int(raw.loadUnaligned(as: UInt64.self))
                    return stride(from: start, to: raw.count - 3, by: 4).map {
                        raw.loadUnaligned(fromByteOffset: $0, as: Float.self)
                    }
                }
            }
            var (largest, sum, norm) = (0.0, 0.0, 0.0)
            for (a, b) in zip(values(one), values(other)) {
                let difference = abs(Double(a) - Double(b))
                largest = max(largest, difference)
                sum += difference * difference
                norm += Double(a) * Double(a)
            }
            return (largest, (sum / norm).squareRoot())
        }

        @Test(arguments: [
            ("BaselineL1", 2, 4, []),
            (four, 2, 2, []), (four, 4, 4, []),
            (three, 4, 4, []),
            ("BaselineL1,AnchorVariants,GradDrop", 2, 2, []),
            (four, 2, 2, ["--lora-rank", "4", "--ema", "0.9", "--clip", "0.5"]),
            (four, 2, 2, ["--on-non-finite", "skip", "--proprio-dropout", "0.5"]),
        ])
        func ranksAreOneProcess(_ plugins: String, _ ranks: Int, _ accumulation: Int, _ more: [String]) throws {
            let folder = try TemporaryFolder()
            let (alone, together) = (folder.path("alone"), folder.path("together"))
            var result = try CraftCommand.run(
                Self.arguments(plugins, steps: 3, out: alone, accumulation: accumulation, more))
            #expect(result.status == 0, "\(result.output)")
            result = try Self.run(
                ranks, Self.arguments(plugins, steps: 3, out: together, accumulation: accumulation, more))
            #expect(result.status == 0, "\(result.output)")
            #expect(result.standardOutput.components(separatedBy: "done: step 3").count == 2, "the first rank prints")
            #expect(CraftCommand.exists(together + "/rank-001.log"))

            let (one, several) = (try Self.metrics(of: alone), try Self.metrics(of: together))
            #expect(one.count == 3 && several.count == 3)
            for (index, (expected, found)) in zip(one, several).enumerated() {
                #expect(Set(expected.keys) == Set(found.keys))
                // The first step's losses, gradients and inner products differ by the order of additions alone.
                let tolerance = index == 0 ? 2e-6 : Self.afterUpdates
                for (name, value) in expected {
                    let other = found[name] ?? .nan
                    #expect(
                        abs(value - other) <= tolerance * max(1, abs(value)), "\(name): \(value), on ranks \(other)")
                }
            }
            let file = more.contains("--lora-rank") ? "lora_adapter/adapter_model.safetensors" : "model.safetensors"
            let names = [file, "optimizer.safetensors"] + (more.contains("--ema") ? ["average/\(file)"] : [])
            for name in names {
                let pair = try [alone, together].map { try #require(Self.tensors(of: $0, step: "step-000003", name)) }
                let difference = try #require(Self.difference(pair[0], pair[1]), "\(name)")
                #expect(difference.relative < Self.afterUpdates, "\(name): \(difference)")
            }
            #expect(
                try CraftCommand.files(in: alone + "/checkpoints/step-000003")
                    == CraftCommand.files(in: together + "/checkpoints/step-000003"))
        }

        /// Sums are taken in the order of the ranks, whatever carries them.
        @Test func bitsRepeatOverSharedMemoryAndTCP() throws {
            let folder = try TemporaryFolder()
            let files = try [[], [], ["--mca", "btl", "tcp,self"]].enumerated().map { index, options in
                let run = folder.path("\(index)")
                let result = try Self.run(
                    3, Self.arguments(Self.four, steps: 2, out: run, accumulation: 3), options: options)
                #expect(result.status == 0, "\(result.output)")
                return try #require(Self.tensors(of: run, step: "step-000002"))
            }
            #expect(files[0] == files[1] && files[0] == files[2])
        }

        /// The step goes on from a checkpoint on other ranks than it was written by.
        @Test func resumesOnOtherRanks() throws {
            let folder = try TemporaryFolder()
            let (straight, resumed) = (folder.path("straight"), folder.path("resumed"))
            var result = try Self.run(2, Self.arguments(Self.four, steps: 4, out: straight, accumulation: 4))
            #expect(result.status == 0, "\(result.output)")
            result = try Self.run(2, Self.arguments(Self.four, steps: 2, out: resumed, accumulation: 4))
            #expect(result.status == 0, "\(result.output)")
            try FileManager.default.copyItem(atPath: resumed, toPath: resumed + "-4")
            result = try Self.run(2, ["train", "--resume", resumed, "--steps", "4", "--quiet"])
            #expect(result.status == 0, "\(result.output)")
            let pair = try [straight, resumed].map { try #require(Self.tensors(of: $0, step: "step-000004")) }
            #expect(pair[0] == pair[1], "the same ranks go on bit for bit")
            result = try Self.run(4, ["train", "--resume", resumed + "-4", "--steps", "4", "--quiet"])
            #expect(result.status == 0, "\(result.output)")
            #expect(result.standardOutput.contains("other ranks (4, before 2)"), "\(result.standardOutput)")
            let other = try #require(Self.tensors(of: resumed + "-4", step: "step-000004"))
            #expect(try #require(Self.difference(pair[0], other)).relative < Self.afterUpdates)
        }

        @Test func whatRanksCannotDoIsRefused() throws {
            let folder = try TemporaryFolder()
            let run = folder.path("run")
            var result = try Self.run(2, Self.arguments("BaselineL1", steps: 1, out: run, accumulation: 3))
            #expect(result.status == 2, "\(result.output)")
            #expect(result.standardError.contains("--accumulation"), "\(result.standardError)")
            #expect(result.standardError.contains("give a multiple of 2"), "\(result.standardError)")
            result = try Self.run(2, ["plan", "--plugins", "BaselineL1"])
            #expect(result.status == 2, "\(result.output)")
            #expect(result.standardError.contains("craft plan is the work of one"), "\(result.standardError)")
            result = try Self.run(
                2, Self.arguments("BaselineL1", steps: 1, out: run, accumulation: 2),
                environment: ["CRAFT_MPI": "/nowhere/libcraft_mpi.so"])
            #expect(result.status == 2, "\(result.output)")
            #expect(result.standardError.contains("scripts/install.sh --mpi"), "\(result.standardError)")
            // What MPICH under the wrong launcher looks like: told that it is one of two, and alone.
            result = try Command.run(
                [BuildFolder.craft] + Self.arguments("BaselineL1", steps: 1, out: run, accumulation: 2),
                environment: Self.environment.merging(["OMPI_COMM_WORLD_SIZE": "2"]) { _, new in new })
            #expect(result.status == 2, "\(result.output)")
            #expect(result.standardError.contains("MPI knows of 1"), "\(result.standardError)")
            #expect(!CraftCommand.exists(run), "nothing was begun")
        }

        // MARK: - Ends

        /// A run under mpirun, in the background.
        private final class Job {
            let process = Process()
            let errors: URL

            init(_ ranks: Int, _ arguments: [String], in folder: TemporaryFolder, environment: [String: String] = [:])
                throws
            {
                errors = URL(fileURLWithPath: folder.path("errors-\(UUID().uuidString)"))
                try Data().write(to: errors)
                process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
                process.arguments = RankTests.launch(ranks) + [BuildFolder.craft] + arguments
                process.environment = ProcessInfo.processInfo.environment.merging(RankTests.environment) { _, new in new
                }
                .merging(environment) { _, new in new }
                process.standardOutput = FileHandle.nullDevice
                process.standardError = try FileHandle(forWritingTo: errors)
                try process.run()
            }

            /// Process ids of the ranks, in their order.
            func ranks(_ count: Int) throws -> [pid_t] {
                var found: [(rank: Int, process: pid_t)] = []
                for name in try FileManager.default.contentsOfDirectory(atPath: "/proc") {
                    guard let id = pid_t(name),
                        let environment = FileManager.default.contents(atPath: "/proc/\(name)/environ"),
                        let status = try? String(contentsOfFile: "/proc/\(name)/status", encoding: .utf8),
                        status.contains("PPid:\t\(process.processIdentifier)\n")
                    else { continue }
                    let text = String(decoding: environment, as: UTF8.self).split(separator: "\0")
                    if let rank = text.first(where: { $0.hasPrefix("OMPI_COMM_WORLD_RANK=") }).flatMap({
                        Int($0.split(separator: "=")[1])
                    }) {
                        found.append((rank, id))
                    }
                }
                try #require(found.count == count)
                return found.sorted { $0.rank < $1.rank }.map(\.process)
            }

            /// - Returns: the exit code and seconds until it; nil when it did not end in time.
            func end(within seconds: Double) -> (status: Int32, after: Double)? {
                let began = Date()
                while process.isRunning, Date().timeIntervalSince(began) < seconds { usleep(20_000) }
                guard !process.isRunning else {
                    process.terminate()
                    return nil
                }
                return (process.terminationStatus, Date().timeIntervalSince(began))
            }

            var standardError: String { (try? String(contentsOf: errors, encoding: .utf8)) ?? "" }
        }

        /// The user's signal reaches one rank; all of them save the same step.
        @Test func aSignalAtAnyRankStopsAllAtOneStep() throws {
            let folder = try TemporaryFolder()
            let run = folder.path("run")
            let job = try Job(
                2, Self.arguments("BaselineL1", steps: 100_000, out: run, accumulation: 2, ["--save-every", "5"]),
                in: folder)
            #expect(CraftCommand.waitForCheckpoint(in: run))
            kill(try job.ranks(2)[1], SIGUSR1)
            let ended = try #require(job.end(within: 20), "all ranks end")
            #expect(ended.status == 130, "\(job.standardError)")
            let step = try #require(Self.lastStep(of: run))
            let result = try Self.run(2, ["train", "--resume", run, "--steps", "\(step + 1)", "--quiet"])
            #expect(result.status == 0, "\(result.output)")
        }

        /// What launchers do when a rank is gone: nothing is lost that was saved.
        @Test func aKilledRankEndsAll() throws {
            let folder = try TemporaryFolder()
            let run = folder.path("run")
            let job = try Job(
                2, Self.arguments("BaselineL1", steps: 100_000, out: run, accumulation: 2, ["--save-every", "5"]),
                in: folder)
            #expect(CraftCommand.waitForCheckpoint(in: run))
            kill(try job.ranks(2)[1], SIGKILL)
            let ended = try #require(job.end(within: 20), "all ranks end")
            #expect(ended.status != 0 && ended.after < 10, "\(ended)")
            let step = try #require(Self.lastStep(of: run))
            let result = try Self.run(2, ["train", "--resume", run, "--steps", "\(step + 1)", "--quiet"])
            #expect(result.status == 0, "\(result.output)")
        }

        @Test func aRankThatHangsIsNamed() throws {
            let folder = try TemporaryFolder()
            let run = folder.path("run")
            let job = try Job(
                2, Self.arguments("BaselineL1", steps: 100_000, out: run, accumulation: 2, ["--save-every", "5"]),
                in: folder,
                environment: ["CRAFT_STALL_SECONDS": "2"])
            #expect(CraftCommand.waitForCheckpoint(in: run))
            let hanging = try job.ranks(2)[1]
            kill(hanging, SIGSTOP)
            let ended = try #require(job.end(within: 30), "all ranks end")
            kill(hanging, SIGKILL)
            #expect(ended.status == 2, "\(job.standardError)")
            #expect(job.standardError.contains("rank 1 on "), "\(job.standardError)")
            #expect(job.standardError.contains("hangs"), "\(job.standardError)")
            #expect(job.standardError.contains("step "), "the phase: \(job.standardError)")
        }

        private static func lastStep(of run: String) -> Int? {
            let names = (try? FileManager.default.contentsOfDirectory(atPath: run + "/checkpoints")) ?? []
            return names.filter { !$0.hasSuffix(".partial") }.compactMap { Int($0.dropFirst("step-".count)) }.max()
        }
    }
}
