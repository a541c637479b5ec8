import Data
import Foundation
import TestSupport
import Testing

extension HostTests {
    /// What can be told without the simulator.
    @Suite struct SimulationCommandTests {
        private func record(_ arguments: [String]) throws -> Command.Result {
            try CraftCommand.run(["data", "record", "--out", "/nonexistent/recordings"] + arguments)
        }

        private func evaluate(_ arguments: [String]) throws -> Command.Result {
            try CraftCommand.run(["eval", "--suite", "libero_spatial"] + arguments)
        }

        @Test func recordingNamesWhatIsWrong() throws {
            let suite = ["--suite", "libero_spatial"]
            CraftCommand.expectRefusal(
                try record(["--suite", "libero_spacial", "--episodes", "1"]), "libero_spacial", "libero_object")
            CraftCommand.expectRefusal(try record(suite + ["--episodes", "1", "--noise", "nan"]), "--noise")
            CraftCommand.expectRefusal(try record(suite + ["--episodes", "1", "--variety", "2"]), "--variety 2")
            CraftCommand.expectRefusal(try record(suite + ["--episodes", "1", "--processes", "0"]), "--processes 0")
            CraftCommand.expectRefusal(try record(suite + ["--episodes", "1", "--takes", "2"]), "--takes 2", "--noise")
        }

        @Test func evaluationNamesWhatIsWrong() throws {
            CraftCommand.expectRefusal(try evaluate([]), "--checkpoint", "--address")
            CraftCommand.expectRefusal(try evaluate(["--checkpoint", "/nonexistent/run"]), "/nonexistent/run")
            CraftCommand.expectRefusal(try evaluate(["--address", "localhost"]), "ws://HOST:PORT")
            CraftCommand.expectRefusal(
                try evaluate(["--address", "ws://127.0.0.1:1", "--trials", "51"]), "--trials 51", "1 to 50")
            CraftCommand.expectRefusal(
                try evaluate(["--address", "ws://127.0.0.1:1", "--execute", "0"]), "--execute 0")
            CraftCommand.expectRefusal(
                try evaluate(["--address", "ws://127.0.0.1:1", "--base", "/tmp"]), "--base is for --checkpoint")
        }

        /// The server that eval starts is told the base, and what it says comes before anything is set up for the simulator.
        @Test func evaluationNamesAMissingBase() throws {
            let folder = try TemporaryFolder()
            let model = folder.path("model")
            let files = FileManager.default
            try files.copyItem(
                atPath: BuildFolder.fixture("vla/one-tower-llama-base-lora").path, toPath: model)
            try files.copyItem(
                atPath: CraftCommand.assets + "/small-vlm/tokenizer.json", toPath: model + "/tokenizer.json")
            try files.removeItem(atPath: model + "/model.safetensors")
            CraftCommand.expectRefusal(
                try evaluate(["--checkpoint", model, "--base", folder.path("none")]),
                folder.path("none") + ": no model.safetensors", "--base takes the folder of the base model")
        }

        private static let python = BuildFolder.repository.appendingPathComponent(".venv/bin/python").path
        private static let scripts = BuildFolder.repository.appendingPathComponent("simulation").path

        private func write(_ text: String, to name: String, in folder: TemporaryFolder) throws {
            try text.write(toFile: folder.path(name), atomically: true, encoding: .utf8)
        }

        /// simulation/evaluate.py: what cannot be continued or written is refused before anything runs.
        @Test func evaluationRefusesFiles() throws {
            let folder = try TemporaryFolder()
            try write("{", to: "damaged", in: folder)
            try write("[]", to: "list", in: folder)
            try write(#"{"suite": "libero_spatial", "policy": "a"}"#, to: "none", in: folder)
            try write(#"{"suite": "libero_spatial", "policy": "b", "episodes": []}"#, to: "other", in: folder)
            func run(_ arguments: String...) throws -> Command.Result {
                let script = [Self.python, Self.scripts + "/evaluate.py", "--suite", "libero_spatial", "--tasks", "0"]
                let fixed = ["--trials", "1", "--address", "ws://127.0.0.1:1", "--policy", "a"]
                return try Command.run(script + fixed + arguments, in: folder.url)
            }
            CraftCommand.expectRefusal(try run("--out", "."), ".: expected results", "Is a directory", "--out")
            CraftCommand.expectRefusal(try run("--out", "damaged"), "damaged: expected results", "found no JSON")
            CraftCommand.expectRefusal(try run("--out", "list"), "list: expected results", "not an object")
            CraftCommand.expectRefusal(try run("--out", "none"), "none: expected results", "no list of 'episodes'")
            CraftCommand.expectRefusal(try run("--out", "other"), "other is of policy 'b', not 'a'", "--out")
            CraftCommand.expectRefusal(try run("--out", "list/x.json"), "list is a file", "--out")
            CraftCommand.expectRefusal(try run("--out", "x", "--video", "list/x"), "list is a file", "--video")
        }

        /// simulation/record.py and write_rlds.py, likewise.
        @Test func recordingRefusesFiles() throws {
            let folder = try TemporaryFolder()
            let episodes = folder.url.appendingPathComponent("set/.episodes")
            try FileManager.default.createDirectory(at: episodes, withIntermediateDirectories: true)
            try write("junk", to: "file", in: folder)
            // Which tasks the expert can do is told by the simulator's files.
            let script = """
                import sys
                sys.path.insert(0, "\(Self.scripts)")
                import record
                record.refuse_unknown_tasks = lambda *_: None
                record.main()
                """
            func run(out: String) throws -> Command.Result {
                let fixed = ["--suite", "libero_spatial", "--tasks", "0", "--episodes", "1"]
                return try Command.run([Self.python, "-c", script] + fixed + ["--out", out], in: folder.url)
            }
            CraftCommand.expectRefusal(try run(out: "file"), "file is a file", "--out")
            CraftCommand.expectRefusal(try run(out: "/proc/x"), "/proc/x", "--out")
            try write("{}", to: "set/.episodes/settings.json", in: folder)
            CraftCommand.expectRefusal(try run(out: "set"), "set was recorded with {}", "--out")
            try write("{", to: "set/.episodes/settings.json", in: folder)
            CraftCommand.expectRefusal(try run(out: "set"), "settings.json: expected", "found no JSON")
            try FileManager.default.removeItem(at: episodes.appendingPathComponent("settings.json"))
            try write("[]", to: "set/.episodes/failed.json", in: folder)
            CraftCommand.expectRefusal(try run(out: "set"), "failed.json: expected", "not an object")

            let writer = [Self.python, Self.scripts + "/write_rlds.py", "file", "--out", "out", "--name", "n"]
            CraftCommand.expectRefusal(
                try Command.run(writer, in: folder.url), "file: not a recorded episode", "delete it")
            #expect(try CraftCommand.files(in: folder.path("out")) == ["n"])
        }

        /// scripts/convert_lerobot.py: what it refuses before it reads tables, for which it needs packages.
        @Test func theConverterRefusesWhatMakesNoDataSet() throws {
            let folder = try TemporaryFolder()
            try FileManager.default.createDirectory(
                atPath: folder.path("source/meta"), withIntermediateDirectories: true)
            func run(_ arguments: String...) throws -> Command.Result {
                let script = BuildFolder.repository.appendingPathComponent("scripts/convert_lerobot.py").path
                return try Command.run(
                    [Self.python, script, "source", "out", "--camera", "image=a"] + arguments, in: folder.url)
            }
            for name in ["", "..", "../y", "/abs"] {
                CraftCommand.expectRefusal(try run("--name", name), "'\(name)' is not a folder name")
            }
            CraftCommand.expectRefusal(try run("--name", "n", "--camera", "state=b"), "'state' has that name")
            CraftCommand.expectRefusal(try run("--name", "n", "--camera", "image=b"), "two have the same name")
            CraftCommand.expectRefusal(try run("--name", "n", "--action-columns=-1,0"), "'-1,0'", "numbers from 0")
            CraftCommand.expectRefusal(try run("--name", "n"), "source/meta/info.json", "No such file")
            for (text, words) in [
                ("[]", "not an object"), (#"{"codebase_version": "v2.1"}"#, "'v2.1'"),
                (#"{"codebase_version": "v3.0"}"#, "has no 'features'"),
                (#"{"codebase_version": "v3.0", "features": {}}"#, "has no 'fps'"),
            ] {
                try write(text, to: "source/meta/info.json", in: folder)
                CraftCommand.expectRefusal(try run("--name", "n"), "source/meta/info.json: ", words)
            }
            #expect(!CraftCommand.exists(folder.path("out")))
        }

        /// Two episodes made of the sample's own pictures, written by simulation/write_rlds.py, as this repository reads them.
        @Test func theWritersDataIsRead() throws {
            let folder = try TemporaryFolder()
            let script = """
                import sys, pathlib
                sys.path.insert(0, "\(Self.scripts)")
                import numpy as np, tfrecord, write_rlds
                shard = next(pathlib.Path("\(CraftCommand.assets)/libero-sample").glob("*/*/*.tfrecord-00000-*"))
                entries = dict(tfrecord.example_entries(next(tfrecord.read_records(shard))))
                pictures = tfrecord.bytes_values(entries["steps/observation/image"])
                paths = []
                for index, steps in enumerate((12, 9)):
                    grid = lambda width: np.arange(steps * width, dtype=np.float32).reshape(steps, width) / 100
                    action = grid(7)
                    action[:, 6] = np.where(np.arange(steps) < 4, -1, 1)
                    episode = dict(image=pictures[:steps], wrist_image=pictures[1 : steps + 1], state=grid(8),
                                   joint_state=grid(7), action=action, instruction=f"task {index}", source=f"e{index}", size=96)
                    paths.append(pathlib.Path(f"e{index}.npz"))
                    write_rlds.save_episode(paths[-1], episode)
                print(write_rlds.write(paths, ".", "libero_spatial_no_noops"))
                """
            let result = try Command.run([Self.python, "-c", script], in: folder.url)
            try #require(result.status == 0, "\(result.output)")
            let dataset = try Demonstrations.open(root: folder.url.path, name: "libero_spatial_no_noops")
            let episodes: [Episode] = dataset.episodes.sorted { ($0.source ?? "") < ($1.source ?? "") }
            #expect(episodes.map(\.source) == ["e0", "e1"])
            #expect(episodes.map(\.length) == [12, 9])
            #expect(episodes.map(\.instruction) == ["task 0", "task 1"])
            for episode in episodes {
                let steps = Array(0..<episode.length)
                let proprio: [Float] = (0..<episode.length * 8).map { Float($0) / 100 }
                #expect(Array(episode.proprio) == proprio)
                let sixth: [Float] = steps.map { Float($0 * 7 + 5) / 100 }
                #expect(steps.map { episode.actions[$0 * 7 + 5] } == sixth)
                let gripper: [Float] = steps.map { $0 < 4 ? 1 : 0 }
                #expect(steps.map { episode.actions[$0 * 7 + 6] } == gripper)
            }
            #expect(dataset.cameras.map(\.name) == ["image", "wrist_image"])
            #expect(dataset.cameras.allSatisfy { $0.width == 96 && $0.height == 96 })
            let (one, two) = (
                try dataset.image(episode: 0, step: 0, camera: 1), try dataset.image(episode: 0, step: 1, camera: 0)
            )
            #expect(one != nil && one == two)
        }

        /// simulation/evaluate.py with a simulator and a server's client that play parts: what is counted, and for whom.
        @Test func resultsAreOfOnePolicyAndOfNothingElse() throws {
            let folder = try TemporaryFolder()
            let scripts = folder.path("simulation")
            try FileManager.default.copyItem(atPath: Self.scripts, toPath: scripts)
            try write(
                """
                import os
                class PolicyError(Exception): pass
                class PolicyClient:
                    def __init__(self, address, limit): self.identity = os.environ.get("POLICY")
                    def actions(self, *observation):
                        if os.environ.get("BROKEN"): raise PolicyError("the server broke")
                        return [[0.0] * 7] * 3
                """, to: "simulation/openpi.py", in: folder)
            try write(
                """
                import os, pathlib
                import numpy as np
                class MujocoException(Exception): pass
                class Env:
                    def step(self, action):
                        self.steps += 1
                        if os.environ.get("FAULT") == "once" and not pathlib.Path("fault").exists():
                            pathlib.Path("fault").touch()
                            raise RuntimeError("EGL_BAD_ALLOC")
                        if os.environ.get("FAULT") == "always": raise RuntimeError("EGL_BAD_ALLOC")
                        if os.environ.get("FAULT") == "physics": raise MujocoException("Nan, Inf or huge value in QACC")
                        return {}, 0, self.steps == 2, {}
                class Task:
                    def __init__(self, suite, index):
                        self.instruction, self.step_limit, self.env = f"task {index}", 6, Env()
                    def reset(self, init):
                        self.env.steps = 0
                        return {}
                    def images(self): return np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)
                    def close(self): pass
                def state(observation): return np.zeros(8, np.float32)
                """, to: "simulation/environment.py", in: folder)
            func run(_ out: String, _ environment: [String: String], _ more: [String] = []) throws -> Command.Result {
                let arguments = [
                    Self.python, scripts + "/evaluate.py", "--suite", "libero_spatial", "--tasks", "3", "--trials", "2",
                    "--address", "ws://127.0.0.1:1", "--out", out,
                ]
                return try Command.run(arguments + more, in: folder.url, environment: environment)
            }
            func episodes(_ out: String) throws -> [[String: Any]] {
                let object = try JSONSerialization.jsonObject(
                    with: Data(contentsOf: URL(fileURLWithPath: folder.path(out))))
                return (object as? [String: Any])?["episodes"] as? [[String: Any]] ?? []
            }
            var result = try run("a.json", ["POLICY": "one"])
            #expect(result.status == 0 && result.output.contains("2/2"), "\(result.output)")
            result = try run("a.json", ["POLICY": "one"])
            #expect(result.status == 0 && result.output.contains("2 done before"), "\(result.output)")
            result = try run("a.json", ["POLICY": "two"])
            #expect(result.status == 2 && result.output.contains("is of identity 'one', not 'two'"), "\(result.output)")
            result = try run("a.json", [:])
            #expect(result.status == 2 && !result.output.contains("Overall"), "\(result.output)")
            result = try run("named.json", [:], ["--identity", "mine"])
            #expect(result.status == 0, "\(result.output)")
            result = try run("named.json", [:], ["--identity", "mine"])
            #expect(result.status == 0 && result.output.contains("2 done before"), "\(result.output)")

            result = try run("broken.json", ["POLICY": "one", "BROKEN": "1"])
            #expect(result.status == 2 && result.output.contains("the server broke"), "\(result.output)")
            #expect(!CraftCommand.exists(folder.path("broken.json")))
            result = try run("once.json", ["POLICY": "one", "FAULT": "once"])
            #expect(result.status == 0, "\(result.output)")
            #expect(try episodes("once.json").allSatisfy { $0["success"] as? Bool == true && $0["error"] == nil })
            result = try run("always.json", ["POLICY": "one", "FAULT": "always"])
            #expect(result.status == 2 && result.output.contains("the simulator failed twice"), "\(result.output)")
            #expect(!CraftCommand.exists(folder.path("always.json")))
            // What the policy's actions did to the simulation is the policy's failure, as in the official evaluation.
            result = try run("physics.json", ["POLICY": "one", "FAULT": "physics"])
            #expect(result.status == 0 && result.output.contains("0/2"), "\(result.output)")
        }

        @Test func resultsAreHeldByOneProcess() throws {
            let folder = try TemporaryFolder()
            let script = """
                import pathlib, subprocess, sys
                sys.path.insert(0, "\(Self.scripts)")
                from files import hold
                lock = hold(pathlib.Path("results.json"), "give another --out")
                if len(sys.argv) == 1:
                    sys.exit(subprocess.run([sys.executable, __file__, "again"]).returncode)
                """
            let file = folder.url.appendingPathComponent("held.py")
            try script.write(to: file, atomically: true, encoding: .utf8)
            let result = try Command.run([Self.python, file.path], in: folder.url)
            #expect(
                result.status == 2 && result.output.contains("results.json is in use by another process"),
                "\(result.output)")
        }

        /// Jobs of simulation/pool.py whose worker is killed: always, once, and all of them.
        @Test func workersMayDie() throws {
            let folder = try TemporaryFolder()
            let script = """
                import os, pathlib, signal, sys
                sys.path.insert(0, "\(Self.scripts)")
                import pool
                def worker(mode):
                    def perform(job):
                        once = pathlib.Path("once")
                        if mode == "all" or (mode, job) == ("always", 3) or (mode, job, once.exists()) == ("once", 3, False):
                            once.touch()
                            os.kill(os.getpid(), signal.SIGKILL)
                        return 10 * job
                    return perform
                if __name__ == "__main__":
                    for mode in ("always", "once", "all"):
                        try:
                            print(mode, sorted(pool.run(range(5), worker, (mode,), 2), key=lambda outcome: outcome[0]))
                        except pool.WorkersDie as error:
                            print(mode, error)
                """
            // Spawned workers import the script by its path.
            let file = folder.url.appendingPathComponent("jobs.py")
            try script.write(to: file, atomically: true, encoding: .utf8)
            let result = try Command.run([Self.python, file.path], in: folder.url)
            let others = "(0, 0, None), (1, 10, None), (2, 20, None), "
            let lines = result.output.split(separator: "\n").map(String.init)
            #expect(
                lines == [
                    "always [" + others + "(3, None, 'its worker process was ended by signal 9'), (4, 40, None)]",
                    "once [" + others + "(3, 30, None), (4, 40, None)]",
                    "all worker processes end one after the other; the last job: its worker process was ended by signal 9",
                ])
        }
    }
}
