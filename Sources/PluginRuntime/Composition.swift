package import FoundationEssentials

/// A plugin of a composition, as it is recorded with a run.
package struct LoadedPlugin: Sendable, Codable, Equatable {
    package struct Hook: Sendable, Codable, Equatable {
        package let point: HookPoint
        /// As declared, with placeholders.
        package let signature: String
        /// Concrete names, without `@prev`.
        package let reads: [String]
        package let provides: [String]
    }

    package let path: String
    package let sha256: String
    /// SHA-256 of the libraries that it brings along in its own folder, by soname.
    package let libraries: [String: String]
    package let id: String
    package let version: String
    package let summary: String
    package let instance: String
    /// Every setting, defaults included, in one canonical spelling.
    package let settings: [String: String]
    package let hooks: [Hook]
}

/// Plugins that fit together: opened, checked, ordered and ready to be called.
///
/// Belongs to the thread that runs training.
package final class Composition {
    /// In list order.
    package let plugins: [LoadedPlugin]
    /// What runs when, and who gives what to whom.
    package let plan: CompositionPlan
    /// Names whose value of the last step some hook reads (`name@prev`): give them to ``ValueStore/init(remembering:)``.
    package let previousReads: Set<String>

    private let instances: [PluginInstance]
    let order: HookOrder
    private let providers: [String: [String]]

    /// Opens, checks and creates the plugins. Throws ``CompositionError`` with every problem there is.
    package convenience init(_ requests: [PluginRequest], search: PluginSearch, registry: NameRegistry) throws {
        var problems: [CompositionProblem] = []
        let drafts = Self.drafts(requests, search, &problems)
        var resolver = CompositionResolver(drafts: drafts, registry: registry, search: search)
        let nodeOrder = resolver.resolve()
        problems += resolver.problems
        guard problems.isEmpty else { throw CompositionError(problems: problems) }
        try self.init(resolver, nodeOrder)
    }

    private convenience init(
        _ resolver: CompositionResolver, _ nodeOrder: [HookPoint: [CompositionResolver.Node]]
    ) throws {
        var problems: [CompositionProblem] = []
        var instances: [PluginInstance] = []
        for draft in resolver.drafts {
            do throws(PluginStateError) {
                instances.append(try PluginInstance(draft))
            } catch {
                problems.append(
                    CompositionProblem(
                        kind: .refused, name: draft.request.instance, neededBy: draft.request.instance,
                        problem: "the plugin refuses these settings: \(error.message)"))
            }
        }
        guard problems.isEmpty else { throw CompositionError(problems: problems) }
        self.init(
            instances, order: nodeOrder.mapValues { nodes in nodes.map { ($0.draft, $0.hook) } },
            plan: CompositionPlan(
                plugins: resolver.drafts.map(\.loaded), order: nodeOrder, resolver: resolver,
                registry: resolver.registry),
            registry: resolver.registry)
    }

    /// One plugin by itself, for tools that inspect or call it: what it reads need not be provided by anybody, and its names
    /// need not be in the registry.
    package convenience init(alone instance: PluginInstance, registry: NameRegistry) {
        var order: [HookPoint: [(instance: Int, hook: Int)]] = [:]
        for (index, hook) in instance.hooks.enumerated() { order[hook.point, default: []].append((0, index)) }
        self.init([instance], order: order, plan: CompositionPlan(alone: instance.loaded), registry: registry)
    }

    /// - Parameter order: by point, positions of instances and of hooks among theirs.
    private init(
        _ instances: [PluginInstance], order: [HookPoint: [(instance: Int, hook: Int)]], plan: CompositionPlan,
        registry: NameRegistry
    ) {
        self.instances = instances
        self.plan = plan
        plugins = plan.plugins
        var providers: [String: [String]] = [:]
        var initial: [String: [String]] = [:]
        for instance in instances {
            for hook in instance.hooks {
                for result in hook.results {
                    if hook.point == .plan {
                        initial[result.name, default: []].append(instance.name)
                    } else {
                        providers[result.name, default: []].append(instance.name)
                    }
                }
            }
        }
        // The initial value's provider (`plan`) answers only when there is no other.
        self.providers = initial.merging(providers) { _, later in later }
        let hooks = instances.flatMap(\.hooks)
        previousReads = Set(hooks.flatMap(\.inputs).filter(\.isPrevious).map(\.name))
        for hook in hooks {
            hook.shapeSources = hook.results.map { result in
                guard let match = registry.match(result.name) else { return nil }
                return (match.entry.isChained ? result.name : registry.shapeSource(of: match)).map { ValueName($0) }
            }
        }
        let entries = Dictionary(
            uniqueKeysWithValues: self.providers.keys.compactMap { name in
                registry.match(name).map { (ValueName(name), $0.entry) }
            })
        self.order = HookOrder(
            calls: order.mapValues { calls in
                calls.map { (instances[$0.instance], instances[$0.instance].hooks[$0.hook]) }
            },
            sharedNames: Set(entries.filter(\.value.isShared).keys),
            lastingNames: Set(entries.filter { $0.value.provider == .host }.keys),
            codes: entries.compactMapValues { $0.code.flatMap(CodeTable.named) })
    }

    private static func drafts(
        _ requests: [PluginRequest], _ search: PluginSearch, _ problems: inout [CompositionProblem]
    ) -> [PluginDraft] {
        var drafts: [PluginDraft] = []
        var instances: Set<String> = []
        for request in requests {
            if !instances.insert(request.instance).inserted {
                problems.append(
                    CompositionProblem(
                        kind: .duplicateInstance, name: request.instance, neededBy: request.instance,
                        problem: "the list has two plugins of this instance name",
                        hint: "name one of them: second=\(request.name)"))
            }
            do {
                let library = try PluginLibrary(path: try search.locate(request.name))
                drafts.append(PluginDraft(request, library, problems: &problems))
            } catch let error as PluginSearch.NotFound {
                problems.append(
                    CompositionProblem(
                        kind: .unknownPlugin, name: request.name, neededBy: request.instance,
                        problem: error.description, hint: error.hint))
            } catch let error as PluginLoadError {
                problems.append(
                    CompositionProblem(
                        kind: .unusablePlugin, name: request.name, neededBy: request.instance,
                        problem: "\(error.path): \(error.problem)", hint: error.hint, loadCause: error.cause))
            } catch {
                problems.append(
                    CompositionProblem(
                        kind: .unusablePlugin, name: request.name, neededBy: request.instance, problem: "\(error)"))
            }
        }
        return drafts
    }

    // MARK: - What the composition needs and gives

    /// Every `X` for which a plugin produces `loss.X`, in list order.
    package var objectives: [String] { provided(matching: "loss.{objective}", capture: "objective") }

    /// What the placeholder `capture` of `pattern` stands for in the names that plugins produce, in list order:
    /// `provided(matching: "tap.{id}.layer", capture: "id")` lists the taps.
    package func provided(matching pattern: String, capture: String) -> [String] {
        guard let template = try? NameTemplate(parsing: pattern) else { return [] }
        var found: [String] = []
        for name in plugins.flatMap({ $0.hooks.flatMap(\.provides) }) {
            guard let value = template.matches(name).first?[capture], !found.contains(value) else { continue }
            found.append(value)
        }
        return found
    }

    /// Whether a hook reads `name` (required or not), at `point` or at any.
    package func reads(_ name: String, at point: HookPoint? = nil) -> Bool {
        plugins.contains { $0.hooks.contains { (point == nil || $0.point == point) && $0.reads.contains(name) } }
    }

    /// Whether a hook reads `name` of this step or the last.
    package func needs(_ name: String) -> Bool { reads(name) || previousReads.contains(name) }

    /// Every name that the hooks of `point` read, each once, in the order of the calls.
    package func resolvedReads(at point: HookPoint) -> [String] {
        var names: [String] = []
        for (_, hook) in order.calls[point] ?? [] {
            for input in hook.inputs where !input.isPrevious && !names.contains(input.name) { names.append(input.name) }
        }
        return names
    }

    /// The instance that produces `name`: the last of a chain. `nil` when no plugin does.
    package func provider(of name: String) -> String? { providers[name]?.last }

    /// Calls the hooks of one point on values of the caller's own, as ``HookSession`` does within a step. For tests of single
    /// points.
    package func run(_ point: HookPoint, values: ValueStore, step: Int) throws {
        try order.run(point, values: values, step: step)
    }

    /// What a step without anything for the hooks of `point` does instead of calling them.
    package func skip(_ point: HookPoint, values: ValueStore) { order.skip(point, values: values) }

    // MARK: - State

    /// Every instance's state by instance name; the same states give the same bytes. Throws ``PluginStateError``.
    package func saveState() throws -> [String: Data] {
        try order.watch.settle()
        var states: [String: Data] = [:]
        for instance in instances { states[instance.name] = try instance.saveState() }
        return states
    }

    /// Restores what ``saveState()`` gave, of the instances in `names`; the others stay as they are. Throws
    /// ``PluginStateError`` when a state is missing or damaged.
    package func loadState(_ states: [String: Data], of names: Set<String>) throws {
        for instance in instances where names.contains(instance.name) {
            guard let state = states[instance.name] else {
                throw PluginStateError(plugin: instance.name, message: "the checkpoint has no state of it")
            }
            try instance.loadState(state)
        }
    }

    /// Restores what ``saveState()`` gave. The states must be those of exactly these instances. Throws
    /// ``PluginStateError``.
    package func loadState(_ states: [String: Data]) throws {
        let names = Set(instances.map(\.name))
        if let extra = states.keys.sorted().first(where: { !names.contains($0) }) {
            throw PluginStateError(
                plugin: extra, message: "the checkpoint has its state, but it is not in this run's plugin list")
        }
        try loadState(states, of: names)
    }

    /// Every instance back to the state right after creation. Throws ``PluginStateError``.
    package func reset() throws { for instance in instances { try instance.reset() } }
}

extension Composition: CustomStringConvertible {
    package var description: String { plan.description }
    /// The resolved data flow as a readable table.
    package var planText: String { plan.description }
    /// The resolved data flow for `plan.json`, with plugin hashes and settings.
    package var planJSON: CompositionPlan { plan }
}
