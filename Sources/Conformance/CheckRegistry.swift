import PluginRuntime

/// The checks of `craft plugins check`, in the order in which they run.
package enum PluginCheck: String, CaseIterable {
    case load, scan, symbols, descriptor, settings
    case random, zero, tiny, huge, nan, results, determinism, bounds
    case readOnly = "read-only"
    case state
    case damagedState = "damaged-state"
    case reset, leaks, instances, process

    /// What is asked, in a few words.
    package var title: String {
        switch self {
        case .load: "opens, and its table, settings, signatures and hashes are valid"
        case .scan: "opens in less than \(Self.scanMilliseconds) ms"
        case .symbols: "exports craft_plugin_entry and nothing else"
        case .descriptor: "id, versions, documentation and names are what the trainer expects"
        case .settings: "every setting's limits and choices work or are refused with a reason"
        case .random: "random input: finite results or an error with a reason"
        case .zero: "zeros: finite results or an error with a reason"
        case .tiny: "numbers of 1e-300: finite results or an error with a reason"
        case .huge: "numbers of 1e150: finite results or an error with a reason"
        case .nan: "NaN input: refused, or visible in the losses; and not remembered"
        case .results: "every required result is written whole"
        case .determinism: "the same input gives the same bytes, in any instance and process"
        case .bounds: "no access beyond a buffer on either side, to undeclared arguments, or after the call"
        case .readOnly: "inputs are not written to"
        case .state: "saved state restores everything, byte for byte"
        case .damagedState: "truncated and random state is refused or harmless"
        case .reset: "reset leads back to the state after create"
        case .leaks: "1000 lifetimes leave no memory, file or thread behind"
        case .instances: "two instances share no state"
        case .process: "leaves working directory, signals, file mask, locale and floating-point environment alone"
        }
    }

    package static let scanMilliseconds = 100

    /// Runs the check in this process. Throws ``CheckProblem`` or the plugin's own error; returns a remark, or `nil`.
    package func run(_ plugin: TrialPlugin) throws -> String? {
        switch self {
        // The process has opened the library by now, and timed it.
        case .load, .scan: return nil
        case .symbols: return try DescriptorChecks.symbols(plugin)
        case .descriptor: return try DescriptorChecks.descriptor(plugin)
        case .settings: return try DescriptorChecks.settings(plugin)
        case .random: return try ValueChecks.finite(plugin, .random)
        case .zero: return try ValueChecks.finite(plugin, .zero)
        case .tiny: return try ValueChecks.finite(plugin, .tiny)
        case .huge: return try ValueChecks.finite(plugin, .huge)
        case .nan: return try ValueChecks.notANumber(plugin)
        case .results: return try ValueChecks.results(plugin)
        case .determinism: return try ValueChecks.determinism(plugin)
        case .bounds: return try ValueChecks.memory(plugin, [.exactAtEnd, .exactAtStart]) { try $0.checkBounds() }
        case .readOnly: return try ValueChecks.memory(plugin, [.readOnly]) { try $0.checkConstants() }
        case .state: return try StateChecks.roundTrip(plugin)
        case .damagedState: return try StateChecks.damaged(plugin)
        case .reset: return try StateChecks.reset(plugin)
        case .leaks: return try LifetimeChecks.leaks(plugin)
        case .instances: return try LifetimeChecks.instances(plugin)
        case .process: return try LifetimeChecks.process(plugin)
        }
    }
}
