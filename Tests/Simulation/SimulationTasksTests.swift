import Formats
import Simulation
import Testing

/// Which tasks and init states a command runs over.
@Suite struct SimulationTasksTests {
    private func tasks(
        _ suite: String = "libero_spatial", _ tasks: String? = nil, episodes: Int = 1, firstInit: Int = 0
    ) throws -> SimulationTasks {
        try SimulationTasks(suite: suite, tasks: tasks, episodes: episodes, option: "--episodes", firstInit: firstInit)
    }

    @Test func allTasksWhereNoneIsNamed() throws {
        let all = try tasks(episodes: 20, firstInit: 30)
        #expect(all.tasks == Array(0..<10) && all.initStates == 30..<50)
        #expect(try tasks("libero_10", "3,0").tasks == [3, 0])
        #expect(
            try tasks("libero_goal", "8").arguments == [
                "--suite", "libero_goal", "--tasks", "8", "--first-init", "0",
            ])
    }

    @Test(
        arguments: [
            ("libero_spacial", nil, 1, 0, ["libero_spacial", "libero_object"]),
            ("libero_spatial", "0,10", 1, 0, ["'10'", "0 to 9"]), ("libero_spatial", "0,", 1, 0, ["'' is not"]),
            ("libero_spatial", "3,3", 1, 0, ["3 is there twice"]),
            ("libero_spatial", nil, 0, 0, ["--episodes 0", "1 to 50"]),
            ("libero_spatial", nil, 21, 30, ["--episodes 21", "1 to 20"]),
            ("libero_spatial", nil, .max, 1, ["1 to 49"]), ("libero_spatial", nil, 1, 50, ["--first-init 50"]),
        ] as [(String, String?, Int, Int, [String])])
    func whatThereIsNotIsRefused(
        _ suite: String, _ list: String?, _ episodes: Int, _ first: Int, _ words: [String]
    ) throws {
        let error = try #require(throws: SimulationError.self) {
            _ = try tasks(suite, list, episodes: episodes, firstInit: first)
        }
        #expect(error.code == .selection)
        for word in words { #expect(error.description.contains(word), "\(error)") }
    }
}
