package import PluginRuntime

extension PluginCheck {
    /// Makes the check in this process, whatever the plugin does to it.
    package func message(of request: PluginRequest, seed: UInt64) -> CheckMessage {
        var message = CheckMessage()
        do {
            let start = ContinuousClock.now
            let library = try PluginLibrary(path: request.name)
            let milliseconds = Int((ContinuousClock.now - start) / .milliseconds(1))
            (message.id, message.version) = (library.id, library.version)
            if self == .scan && milliseconds > PluginCheck.scanMilliseconds {
                throw CheckProblem(
                    "opening it took \(milliseconds) ms, more than \(PluginCheck.scanMilliseconds): "
                        + "move work from constructors and craft_plugin_entry into create")
            }
            let plugin = TrialPlugin(library: library, request: request, seed: seed)
            message.note = try run(plugin)
            if self == .determinism { message.digest = try ValueChecks.digest(plugin) }
        } catch let error as PluginLoadError {
            message.problem = error.description
            message.isNoPlugin =
                [.missingFile, .notALibrary, .openFailed, .missingEntry].contains(error.cause)
        } catch {
            message.problem = "\(error)"
        }
        return message
    }
}
