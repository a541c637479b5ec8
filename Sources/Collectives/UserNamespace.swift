internal import Glibc

/// Ranks in different user namespaces, as those of rootless containers are, cannot read each other's memory: Open MPI 4 warns
/// of it and then waits for ever in the first large message.
enum UserNamespace {
    /// The setting that makes Open MPI send copies instead.
    private static let cure = (name: "OMPI_MCA_btl_vader_single_copy_mechanism", value: "none")

    /// Applies the setting where this process is in another namespace than what launched it. Before MPI starts.
    static func cureIfNeeded() {
        guard let own = namespace(of: "self"), own != launcherNamespace() else { return }
        setenv(cure.name, cure.value, 0)
    }

    private static func namespace(of process: String) -> String? { link("/proc/\(process)/ns/user") }

    /// That of the nearest ancestor that launches ranks; nil where none is seen.
    private static func launcherNamespace() -> String? {
        let launchers: Set = [
            "mpirun", "mpiexec", "orterun", "orted", "prterun", "prted", "hydra_pmi_proxy", "slurmstepd",
        ]
        var process = getppid()
        for _ in 0..<64 where process > 0 {
            guard let status = text("/proc/\(process)/status") else { return nil }
            func field(_ name: String) -> String? {
                status.split(separator: "\n").first { $0.hasPrefix(name + ":") }
                    .map { $0.dropFirst(name.count + 1).filter { $0 != " " && $0 != "\t" } }
            }
            if let name = field("Name"), launchers.contains(where: { $0.hasPrefix(name) || name.hasPrefix($0) }) {
                return namespace(of: "\(process)")
            }
            process = field("PPid").flatMap { Int32($0) } ?? 0
        }
        return nil
    }

    private static func link(_ path: String) -> String? {
        var buffer = [CChar](repeating: 0, count: 256)
        let length = readlink(path, &buffer, buffer.count - 1)
        return length > 0 ? String(decoding: buffer.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil
    }

    private static func text(_ path: String) -> String? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let length = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes.prefix(length), as: UTF8.self)
    }
}
