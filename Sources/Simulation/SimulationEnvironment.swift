import Formats
import Foundation
import Glibc
import Processes
import Training

/// The Python scripts of `simulation/` and the environment they run in, which is made on first use.
///
///     ~/.cache/craft/simulation/venv                 or CRAFT_SIMULATION_ENV/venv
///     ~/.cache/craft/simulation/venv/requirements.txt    copied last: the environment is complete and current
package struct SimulationEnvironment {
    /// Shared libraries that rendering without a display needs, and the Debian packages that have them.
    private static let libraries = [
        ("libOSMesa.so.8", "libosmesa6"), ("libEGL.so.1", "libegl1"), ("libGLX_mesa.so.0", "libglx-mesa0"),
        ("libGLESv2.so.2", "libgles2"), ("libEGL_mesa.so.0", "libegl-mesa0"),
    ]
    private static let driver = ("swrast_dri.so", "libgl1-mesa-dri")

    /// Folder of the scripts.
    package let scripts: String
    /// Folder of the environment.
    package let folder: String
    private let files = FileManager.default

    package var python: String { folder + "/venv/bin/python" }

    /// `CRAFT_SIMULATION`, or `simulation` in a folder above the executable or the current one.
    package init() throws {
        let environment = ProcessInfo.processInfo.environment
        if let given = environment["CRAFT_SIMULATION_ENV"], !given.isEmpty {
            folder = given
        } else {
            folder = files.homeDirectoryForCurrentUser.path + "/.cache/craft/simulation"
        }
        if let given = environment["CRAFT_SIMULATION"], !given.isEmpty {
            guard files.fileExists(atPath: given + "/record.py") else {
                throw SimulationError(
                    .setUp,
                    "CRAFT_SIMULATION is '\(given)', and there is no record.py; give craft's folder simulation")
            }
            scripts = given
            return
        }
        for start in [Installation.executableFolder, files.currentDirectoryPath] {
            var url = URL(fileURLWithPath: start)
            while url.path != "/" {
                let candidate = url.appendingPathComponent("simulation").path
                if files.fileExists(atPath: candidate + "/record.py") {
                    scripts = candidate
                    return
                }
                url.deleteLastPathComponent()
            }
        }
        throw SimulationError(
            .setUp,
            "the folder simulation is not above \(Installation.executableFolder): give its path in a checkout of craft in the "
                + "environment as CRAFT_SIMULATION")
    }

    /// Makes what is missing. Prints what it does; nothing when all is there.
    ///
    /// - Parameter isAgreed: whether it may do so without asking.
    package func prepare(isAgreed: Bool) throws {
        let requirements = scripts + "/requirements.txt"
        let installed = folder + "/venv/requirements.txt"
        let isComplete = files.contents(atPath: installed).map { $0 == files.contents(atPath: requirements) } ?? false
        // Whoever made an environment of their own has seen to what it needs.
        if isComplete, ProcessInfo.processInfo.environment["CRAFT_SIMULATION_ENV"] != nil { return }
        try installLibraries(isAgreed: isAgreed)
        if isComplete { return }
        try agree(
            "The simulator is not set up yet. That takes about 2 GB in \(folder), from PyPI, and some minutes.",
            isAgreed)
        print("setting up the simulator in \(folder), once; about 2 GB and some minutes")
        do {
            try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
        } catch {
            throw SimulationError(.setUp, "cannot make the folder '\(folder)': \(error.localizedDescription)")
        }
        let hint = "the simulator's environment cannot be set up in \(folder)"
        try run(["python3", "-m", "venv", "--clear", folder + "/venv"], or: hint + "; on Debian install python3-venv")
        try run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements], or: hint)
        try files.copyItem(atPath: requirements, toPath: installed)
    }

    /// Asks on the terminal; without one, only --yes agrees.
    private func agree(_ what: String, _ isAgreed: Bool) throws {
        if isAgreed { return }
        guard isatty(STDIN_FILENO) == 1, isatty(STDERR_FILENO) == 1 else {
            throw SimulationError(.notAgreed, "\(what) Give --yes to have it done")
        }
        FileHandle.standardError.write(Data("\(what) Go on? [y/N] ".utf8))
        guard let answer = readLine(), ["y", "yes"].contains(answer.lowercased()) else {
            throw SimulationError(.stopped, "nothing was set up")
        }
    }

    private func installLibraries(isAgreed: Bool) throws {
        var missing = Self.libraries.filter { name, _ in
            guard let handle = dlopen(name, RTLD_LAZY) else { return true }
            dlclose(handle)
            return false
        }.map(\.1)
        let folders = [
            "/usr/lib/x86_64-linux-gnu/dri", "/usr/lib/aarch64-linux-gnu/dri", "/usr/lib64/dri", "/usr/lib/dri",
        ]
        if !folders.contains(where: { files.fileExists(atPath: $0 + "/" + Self.driver.0) }) {
            missing.append(Self.driver.1)
        }
        if missing.isEmpty { return }
        let packages = missing.joined(separator: " ")
        let isDebian = files.isExecutableFile(atPath: "/usr/bin/apt-get")
        guard geteuid() == 0, isDebian else {
            throw SimulationError(
                .setUp,
                "the simulator renders with Mesa, and these packages (Debian's names) are missing: \(packages); install them"
                    + (isDebian ? " with: sudo apt-get install \(packages)" : ""))
        }
        try agree("The simulator needs these Debian packages: apt-get install \(packages).", isAgreed)
        print("apt-get install \(packages)")
        try run(["apt-get", "update", "-qq"], or: "apt-get update failed; install by hand: \(packages)")
        try run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends"] + missing,
            or: "apt-get could not install \(packages)")
    }

    private func run(_ arguments: [String], or failure: String) throws {
        let status = try ForwardingProcess.run(["/usr/bin/env"] + arguments)
        if status == 130 { throw SimulationError(.stopped, "stopped; the next call begins the set-up anew") }
        guard status == 0 else {
            throw SimulationError(.setUp, "\(failure) (exit code \(status) of \(arguments.joined(separator: " ")))")
        }
    }

    /// Runs a script of `simulation/`, its output going where this process's goes. Gives its exit code, 130 after Ctrl-C.
    package func run(script: String, _ arguments: [String]) throws -> Int32 {
        try ForwardingProcess.run(
            [python, scripts + "/" + script] + arguments,
            environment: ["PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"])
    }
}
