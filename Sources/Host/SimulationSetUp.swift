import ArgumentParser

/// What commands that need the simulator ask before they set it up.
struct SimulationSetUp: ParsableArguments {
    @Flag(help: "Set the simulator up without asking: Debian packages and about 2 GB from PyPI.")
    var yes = false
}
