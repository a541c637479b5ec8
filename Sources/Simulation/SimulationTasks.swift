import Formats
import Training

/// The tasks and init states of LIBERO suites that a command runs over.
package struct SimulationTasks {
    package static let suites = ["libero_spatial", "libero_object", "libero_goal", "libero_10"]
    package static let tasksPerSuite = 10
    package static let initStates = 50

    package let suite: String
    /// Without repetition, in the given order.
    package let tasks: [Int]
    package let initStates: Range<Int>

    /// - Parameters:
    ///   - tasks: numbers separated by commas; `nil` for all.
    ///   - episodes: init states per task, from `firstInit` on; `option` is the name of the flag that gave it.
    package init(suite: String, tasks: String?, episodes: Int, option: String, firstInit: Int) throws {
        guard Self.suites.contains(suite) else {
            throw SimulationError(
                .selection,
                "--suite '\(suite)': there is no such suite; give one of \(Self.suites.joined(separator: ", "))")
        }
        var numbers: [Int] = []
        for text in tasks?.split(separator: ",", omittingEmptySubsequences: false) ?? [] {
            guard let number = Int(text), (0..<Self.tasksPerSuite).contains(number) else {
                throw SimulationError(
                    .selection,
                    "--tasks '\(tasks ?? "")': '\(text)' is not a task of \(suite); tasks are numbers from 0 to "
                        + "\(Self.tasksPerSuite - 1), separated by commas")
            }
            guard !numbers.contains(number) else {
                throw SimulationError(.selection, "--tasks '\(tasks ?? "")': task \(number) is there twice")
            }
            numbers.append(number)
        }
        guard (0..<Self.initStates).contains(firstInit) else {
            throw SimulationError(
                .selection,
                "--first-init \(firstInit): a task has init states 0 to \(Self.initStates - 1)")
        }
        guard episodes >= 1, episodes <= Self.initStates - firstInit else {
            throw SimulationError(
                .selection,
                "\(option) \(episodes): a task has init states 0 to \(Self.initStates - 1), so from init state \(firstInit) "
                    + "on there can be 1 to \(Self.initStates - firstInit)")
        }
        self.suite = suite
        self.tasks = tasks == nil ? Array(0..<Self.tasksPerSuite) : numbers
        initStates = firstInit..<(firstInit + episodes)
    }

    /// `--suite` and `--tasks` for the simulator's scripts.
    package var arguments: [String] {
        [
            "--suite", suite, "--tasks", tasks.map(String.init).joined(separator: ","),
            "--first-init", "\(initStates.lowerBound)",
        ]
    }
}
