/// Hooks in the order of their calls, and what running them has to know about their results.
struct HookOrder {
    let calls: [HookPoint: [(instance: PluginInstance, hook: BoundHook)]]
    /// Results that several hooks produce and have to agree on.
    let sharedNames: Set<ValueName>
    /// Results that keep the host's value, or their last one, when the hook that gives them is not called.
    let lastingNames: Set<ValueName>
    /// Results that are codes, with what they may be.
    let codes: [ValueName: CodeTable]
    let watch = HookGuard()

    /// Calls the hooks of `point` in order. Inputs come from `values`, results go there; an array result stays valid
    /// until the next run of its hook. Throws ``PluginFailure``.
    ///
    /// A hook that requires a value which is withheld (``ValueStore/withhold(_:)``) is not called. What only it could have
    /// given is then withheld too; a value that the host provides as well, such as a multiplier, stays what it is.
    ///
    /// - Parameters:
    ///   - keepsNonFinite: whether results that are not finite are stored like any other.
    ///   - prepare: called before each hook that runs, and `collect` after it.
    func run(
        _ point: HookPoint, values: ValueStore, step: Int, keepsNonFinite: Bool = false,
        prepare: (BoundHook) throws -> Void = { _ in }, collect: (BoundHook) -> Void = { _ in }
    ) throws {
        var agreed: [ValueName: (value: ValueStore.Value, by: String)] = [:]
        watch.begin()
        for (instance, hook) in calls[point] ?? [] {
            if hook.requires(values.isWithheld) {
                withholdResults(of: hook, values)
                continue
            }
            try prepare(hook)
            try instance.call(hook, values: values, step: step, keepsNonFinite: keepsNonFinite)
            try watch.check(hook, step: step)
            if point == .plan { try check(hook, values, step) }
            collect(hook)
            guard !sharedNames.isEmpty else { continue }
            for name in hook.resultNames where sharedNames.contains(name) {
                guard let value = values.value(name) else { continue }
                if let earlier = agreed[name], !earlier.value.equals(value) {
                    throw PluginFailure(
                        plugin: instance.name, point: point, step: step,
                        message: "it sets '\(name)' to \(value), but \(earlier.by) sets it to \(earlier.value): "
                            + "give both the same settings",
                        kind: .error)
                }
                agreed[name] = (value, instance.name)
            }
        }
    }

    /// An integer that stands for nothing is refused in the name of the hook that gave it.
    private func check(_ hook: BoundHook, _ values: ValueStore, _ step: Int) throws {
        for name in hook.resultNames {
            guard let table = codes[name], let code = values.integer(name), !table.contains(code) else { continue }
            throw PluginFailure(
                plugin: hook.instance, point: hook.point, step: step,
                message: "it sets '\(name)' to \(code); there are \(table.valuesText)", kind: .error)
        }
    }

    /// Takes the place of ``run(_:values:step:keepsNonFinite:prepare:collect:)`` in a step that has nothing for the hooks of `point`:
    /// what only they could have given is withheld.
    func skip(_ point: HookPoint, values: ValueStore) {
        for (_, hook) in calls[point] ?? [] { withholdResults(of: hook, values) }
    }

    private func withholdResults(of hook: BoundHook, _ values: ValueStore) {
        for name in hook.resultNames where !lastingNames.contains(name) { values.withhold(name) }
    }
}
