internal import Formats
internal import Glibc

/// Where `libcraft_mpi.so` is, and the ranks that it leads to.
package enum MPILibrary {
    /// In a checkout; elsewhere the two files of `Sources/CLibraries/CCraftMPI` are enough.
    static let buildCommand =
        "scripts/install.sh --mpi, or mpicc -O3 -shared -fPIC Sources/CLibraries/CCraftMPI/craft_mpi.c -o FOLDER/"
        + "\(MPICollective.fileName), FOLDER being that of the craft executable (or name the file in CRAFT_MPI)"

    /// The ranks that this process was started with: itself, unless a launcher started several.
    ///
    /// - Parameter folder: of the executable.
    /// - Throws: ``CollectiveError`` when the library is missing or the launcher's and MPI's sizes differ.
    package static func ranks(besideExecutableIn folder: String) throws(CollectiveError) -> any Collective {
        guard let launcher = Launcher.find(), launcher.size > 1 else { return OneRank() }
        guard let path = find(folder) else {
            throw CollectiveError(
                .missingLibrary,
                "a launcher started \(launcher.size) processes (\(launcher.variable)), and \(MPICollective.fileName), by which "
                    + "they would reach each other, is not beside craft in \(folder). Build it: \(buildCommand)")
        }
        let ranks = try MPICollective(path: path)
        guard ranks.size == launcher.size else {
            throw CollectiveError(
                .launcher,
                "the launcher started \(launcher.size) processes (\(launcher.variable)), MPI knows of \(ranks.size): each would "
                    + "train alone, over the same folder. \(path) is for \(ranks.carrier); start with that "
                    + "library's own mpirun, or under Slurm with the --mpi that it was built for (srun --mpi=list; Open MPI: "
                    + "pmix, MPICH: pmi2)")
        }
        return ranks
    }

    private static func find(_ folder: String) -> String? {
        if let path = getenv("CRAFT_MPI").map({ String(cString: $0) }), !path.isEmpty { return path }
        // Beside the executable, where an installation has libraries, and in the build folder of a checkout.
        return ["", "../lib/", "../../"].map { "\(folder)/\($0)\(MPICollective.fileName)" }.first {
            access($0, R_OK) == 0
        }
    }
}
