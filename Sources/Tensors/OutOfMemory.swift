#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

/// Ends the process with a sentence and exit code 2 when the system gives no memory: a request that large comes from
/// settings or a configuration, and nothing that holds half a model can go on.
func stopOutOfMemory(bytes: Int, for purpose: String) -> Never {
    let sentence =
        "Error: out of memory: the system gave no \(bytes >> 20) MiB for \(purpose); expected sizes that fit this machine, so "
        + "take a smaller batch, or look for a wrong number in config.json (craft plan tells what a run needs)\n"
    _ = sentence.withCString { write(STDERR_FILENO, $0, strlen($0)) }
    exit(2)
}
