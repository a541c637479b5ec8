internal import Glibc

/// What started this process as one of several, as its environment tells.
package struct Launcher: Equatable, Sendable {
    /// The variable that says how many there are.
    package let variable: String
    package let size: Int

    /// Variables in which launchers say how many processes they started, the nearest first: `mpirun` within a Slurm job leaves
    /// those of the step that started it. `SLURM_NTASKS` is none of them: a batch script has it too, and runs once.
    private static let variables = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"]

    /// Nil: this process was started by itself.
    package static func find(in environment: [String: String]) -> Launcher? {
        for name in variables {
            if let size = environment[name].flatMap({ Int($0) }), size >= 1 {
                return Launcher(variable: name, size: size)
            }
        }
        return nil
    }

    /// The same in this process's environment.
    package static func find() -> Launcher? {
        find(
            in: Dictionary(
                uniqueKeysWithValues: variables.compactMap { name in
                    getenv(name).map { (name, String(cString: $0)) }
                }))
    }
}
