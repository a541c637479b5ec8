public import Foundation

/// A plugin of a composition, as it is recorded with a run.
public struct LoadedPlugin: Sendable, Codable, Equatable {
    public struct Hook: Sendable, Codable, Equatable {
        public let point: HookPoint
        /// As declared, with placeholders.
        public let signature: String
        /// Concrete names, without `@prev`.
        public let reads: [String]
        public let provides: [String]
    }

    public let path: String
    public let sha256: String
    public let id: String
    public let version: String
    public let summary: String
    public let instance: String
    /// Every setting, defaults included, in one canonical spelling.
    public let settings: [String: String]
    public let hooks: [Hook]
}

/// Plugins that fit together: opened, checked, ordered and ready to be called.
///
/// Belongs to the thread that runs training.
public final class Composition {
    /// In list order.
    public let plugins: [LoadedPlugin]
    /// What runs when, and who gives what to whom.
    public let plan: CompositionPlan
    /// Names whose value of the last step some hook reads (`name@prev`): give them to ``ValueStore/init(remembering:)``.
    public let previousReads: Set<String>

    private let instances: [PluginInstance]
    private let order: [HookPoint: [(instance: PluginInstance, hook: BoundHook)]]
    private let providers: [String: [String]]
    /// For a result whose shape another value prescribes: that value.
    private let shapeSources: [String: String]
    /// Results that several hooks produce and have to agree on.
    private let sharedNames: Set<String>
    /// Results that are codes, with what they may be.
    private let codes: [String: CodeTable]
    /// Results that keep the host's value, or their last one, when the hook that gives them is not called.
    private let lastingNames: Set<String>

    /// Opens, checks and creates the plugins. Throws ``CompositionError`` with every problem there is.
    public init(_ requests: [PluginRequest], search: PluginSearch, registry: NameRegistry) throws {
        var problems: [CompositionProblem] = []
        let drafts = Self.drafts(requests, search, &problems)
        var resolver = CompositionResolver(drafts: drafts, registry: registry, search: search)
        let nodeOrder = resolver.resolve()
        problems += resolver.problems
        guard problems.isEmpty else { throw CompositionError(problems: problems) }

        var instances: [PluginInstance] = []
        for draft in drafts {
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

        self.instances = instances
        order = nodeOrder.mapValues { nodes in
            nodes.map { (instances[$0.draft], instances[$0.draft].hooks[$0.hook]) }
        }
        providers = resolver.providers.mapValues { nodes in
            // The initial value's provider (`plan`) answers only when there is no other.
            let later = nodes.filter { resolver[$0].point != .plan }
            return (later.isEmpty ? nodes : later).map { resolver.instance($0) }
        }
        plugins = drafts.map(\.loaded)
        let inputs = drafts.flatMap { $0.hooks.flatMap(\.inputs) }
        previousReads = Set(inputs.filter(\.isPrevious).map(\.name))
        var sources: [String: String] = [:]
        for name in resolver.providers.keys {
            guard let match = registry.match(name) else { continue }
            sources[name] = match.entry.isChained ? name : registry.shapeSource(of: match)
        }
        shapeSources = sources
        sharedNames = Set(resolver.providers.keys.filter { registry.match($0)?.entry.isShared == true })
        codes = Dictionary(
            uniqueKeysWithValues: resolver.providers.keys.compactMap { name in
                registry.match(name)?.entry.code.flatMap(CodeTable.named).map { (name, $0) }
            })
        lastingNames = Set(resolver.providers.keys.filter { registry.match($0)?.entry.provider == .host })
        plan = CompositionPlan(plugins: plugins, order: nodeOrder, resolver: resolver, registry: registry)
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
    public var objectives: [String] { provided(matching: "loss.{objective}", capture: "objective") }

    /// What the placeholder `capture` of `pattern` stands for in the names that plugins produce, in list order:
    /// `provided(matching: "tap.{id}.layer", capture: "id")` lists the taps.
    public func provided(matching pattern: String, capture: String) -> [String] {
        guard let template = try? NameTemplate(parsing: pattern) else { return [] }
        var found: [String] = []
        for name in plugins.flatMap({ $0.hooks.flatMap(\.provides) }) {
            guard let value = template.matches(name).first?[capture], !found.contains(value) else { continue }
            found.append(value)
        }
        return found
    }

    /// Whether a hook reads `name` (required or not), at `point` or at any.
    public func reads(_ name: String, at point: HookPoint? = nil) -> Bool {
        plugins.contains { $0.hooks.contains { (point == nil || $0.point == point) && $0.reads.contains(name) } }
    }

    /// Every name that the hooks of `point` read, each once, in the order of the calls.
    public func resolvedReads(at point: HookPoint) -> [String] {
        var names: [String] = []
        for (_, hook) in order[point] ?? [] {
            for input in hook.inputs where !input.isPrevious && !names.contains(input.name) { names.append(input.name) }
        }
        return names
    }

    /// The instance that produces `name`: the last of a chain. `nil` when no plugin does.
    public func provider(of name: String) -> String? { providers[name]?.last }

    // MARK: - Running

    /// Calls the hooks of `point` in order. Inputs come from `values`, results go there; an array result stays valid
    /// until the next run of its hook. Throws ``PluginFailure``.
    ///
    /// A hook that requires a value which is withheld (``ValueStore/withhold(_:)``) is not called. What only it could have
    /// given is then withheld too; a value that the host provides as well, such as a multiplier, stays what it is.
    public func run(_ point: HookPoint, values: ValueStore, step: Int) throws {
        var agreed: [String: (value: ValueStore.Value, by: String)] = [:]
        for (instance, hook) in order[point] ?? [] {
            if hook.inputs.contains(where: { !$0.isOptional && values.isWithheld($0.name) }) {
                withholdResults(of: hook, values)
                continue
            }
            try instance.call(hook, values: values, step: step) { shapeSources[$0] }
            for result in hook.results {
                guard let table = codes[result.name], let code = values.integer(result.name), !table.contains(code)
                else { continue }
                throw PluginFailure(
                    plugin: instance.name, point: point, step: step,
                    message: "it sets '\(result.name)' to \(code); there are \(table.valuesText)", kind: .error)
            }
            for result in hook.results where sharedNames.contains(result.name) {
                guard let value = values.value(result.name, isPrevious: false) else { continue }
                if let earlier = agreed[result.name], !earlier.value.equals(value) {
                    throw PluginFailure(
                        plugin: instance.name, point: point, step: step,
                        message: "it sets '\(result.name)' to \(value), but \(earlier.by) sets it to \(earlier.value): "
                            + "give both the same settings",
                        kind: .error)
                }
                agreed[result.name] = (value, instance.name)
            }
        }
    }

    /// Takes the place of ``run(_:values:step:)`` in a step that has nothing for the hooks of `point`: what only they could
    /// have given is withheld.
    public func skip(_ point: HookPoint, values: ValueStore) {
        for (_, hook) in order[point] ?? [] { withholdResults(of: hook, values) }
    }

    private func withholdResults(of hook: BoundHook, _ values: ValueStore) {
        for result in hook.results where !lastingNames.contains(result.name) { values.withhold(result.name) }
    }

    // MARK: - State

    /// Every instance's state by instance name; the same states give the same bytes. Throws ``PluginStateError``.
    public func saveState() throws -> [String: Data] {
        var states: [String: Data] = [:]
        for instance in instances { states[instance.name] = try instance.saveState() }
        return states
    }

    /// Restores what ``saveState()`` gave, of the instances in `names`; the others stay as they are. Throws
    /// ``PluginStateError`` when a state is missing or damaged.
    public func loadState(_ states: [String: Data], of names: Set<String>) throws {
        for instance in instances where names.contains(instance.name) {
            guard let state = states[instance.name] else {
                throw PluginStateError(plugin: instance.name, message: "the checkpoint has no state of it")
            }
            try instance.loadState(state)
        }
    }

    /// Restores what ``saveState()`` gave. The states must be those of exactly these instances. Throws
    /// ``PluginStateError``.
    public func loadState(_ states: [String: Data]) throws {
        let names = Set(instances.map(\.name))
        if let extra = states.keys.sorted().first(where: { !names.contains($0) }) {
            throw PluginStateError(
                plugin: extra, message: "the checkpoint has its state, but it is not in this run's plugin list")
        }
        try loadState(states, of: names)
    }

    /// Every instance back to the state right after creation. Throws ``PluginStateError``.
    public func reset() throws { for instance in instances { try instance.reset() } }
}

extension Composition: CustomStringConvertible {
    public var description: String { plan.description }
    /// The resolved data flow as a readable table.
    public var planText: String { plan.description }
    /// The resolved data flow for `plan.json`, with plugin hashes and settings.
    public var planJSON: CompositionPlan { plan }
}
