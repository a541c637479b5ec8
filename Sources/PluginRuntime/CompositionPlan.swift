internal import Spelling

/// The resolved data flow of a composition: which hooks run at which point in which order, what each reads from whom,
/// what each produces, at what cost to the host. Recorded with a run and compared on resume.
package struct CompositionPlan: Sendable, Codable, Equatable {
    package struct Value: Sendable, Codable, Equatable {
        package let name: String
        package let type: String
        package let isOptional: Bool
        /// Reads the previous step's value.
        package let isPrevious: Bool
        /// For an input: the instances that produce it, or `host`, or `absent`. For a result: who reads it.
        package let counterparts: [String]
        package let cost: NameRegistry.Cost
    }

    package struct Hook: Sendable, Codable, Equatable {
        package let plugin: String
        package let reads: [Value]
        package let provides: [Value]
    }

    package struct Point: Sendable, Codable, Equatable {
        package let point: HookPoint
        /// In the order of the calls.
        package let hooks: [Hook]
    }

    package let abi: String
    package let plugins: [LoadedPlugin]
    package let points: [Point]
    /// What a user may not have meant, a sentence each: plugins that are about something that nobody provides.
    package let notes: [String]

    /// Of one plugin by itself: nobody reads what it gives.
    init(alone plugin: LoadedPlugin) {
        abi = PluginLibrary.hostABI
        plugins = [plugin]
        points = []
        notes = []
    }

    init(
        plugins: [LoadedPlugin], order: [HookPoint: [CompositionResolver.Node]], resolver: CompositionResolver,
        registry: NameRegistry
    ) {
        abi = PluginLibrary.hostABI
        self.plugins = plugins
        points = HookPoint.allCases.compactMap { point in
            guard let nodes = order[point], !nodes.isEmpty else { return nil }
            var called: Set<CompositionResolver.Node> = []
            let hooks = nodes.map { node in
                let hook = resolver[node]
                let reads = hook.inputs.map { input in
                    Self.value(
                        input, registry,
                        Self.source(of: input, node, called: called, resolver: resolver, registry: registry))
                }
                let provides = hook.results.map { result in
                    let readers = resolver.nodes.filter { other in
                        other != node && resolver[other].inputs.contains { $0.name == result.name }
                    }
                    return Self.value(result, registry, readers.map { resolver.instance($0) })
                }
                called.insert(node)
                return Hook(plugin: resolver.instance(node), reads: reads, provides: provides)
            }
            return Point(point: point, hooks: hooks)
        }
        notes = Self.notes(resolver, registry)
    }

    /// A plugin that can do without a value may be left with nothing to do: a multiplier rule without its objective. That is
    /// a legal run, and a likely slip.
    private static func notes(_ resolver: CompositionResolver, _ registry: NameRegistry) -> [String] {
        var notes: [String] = []
        for node in resolver.nodes {
            let hook = resolver[node]
            for argument in hook.inputs + hook.results {
                // "none" is how a setting says that it names nothing.
                guard let match = registry.match(argument.name), !match.captures.values.contains("none"),
                    let root = match.entry.requires?.filled(with: match.captures), !resolver.isAvailable(root)
                else { continue }
                let family = registry.match(root)?.entry.pattern
                let others = resolver.providers.keys.filter { registry.match($0)?.entry.pattern == family }
                let near = Suggestion.hint(for: root, among: others.sorted(), otherwise: "")
                let note =
                    "\(resolver.instance(node)) is about '\(root)', which no plugin in the list provides: it has nothing to do "
                    + "there" + (near.isEmpty ? "" : "; \(near)")
                if !notes.contains(note) { notes.append(note) }
            }
        }
        return notes
    }

    private static func value(
        _ argument: BoundHook.Argument, _ registry: NameRegistry, _ counterparts: [String]
    ) -> Value {
        var unique: [String] = []
        for name in counterparts where !unique.contains(name) { unique.append(name) }
        return Value(
            name: argument.name, type: argument.type.description, isOptional: argument.isOptional,
            isPrevious: argument.isPrevious, counterparts: unique,
            cost: registry.match(argument.name)?.entry.cost ?? .free)
    }

    /// Who gives an input its value: a hook called before at this point or an earlier one, the host, or both when a
    /// plugin replaces what the host starts with.
    private static func source(
        of input: BoundHook.Argument, _ node: CompositionResolver.Node, called: Set<CompositionResolver.Node>,
        resolver: CompositionResolver, registry: NameRegistry
    ) -> [String] {
        let point = resolver[node].point
        let providers = resolver.providers[input.name] ?? []
        let match = registry.match(input.name)
        if match?.entry.isChained == true {
            let before = providers.filter { called.contains($0) }
            return before.last.map { [resolver.instance($0)] } ?? ["host"]
        }
        let before = providers.filter { resolver[$0].point < point || called.contains($0) }
        let steady = before.filter { resolver[$0].point != .plan }
        let later = providers.filter {
            resolver[$0].point >= point && !called.contains($0) && resolver[$0].point != .plan
        }
        // A value produced later in the step reaches this hook from the step before.
        let chosen = !steady.isEmpty ? steady : before + later
        if !chosen.isEmpty { return chosen.map { resolver.instance($0) } }
        guard match?.entry.provider == .host else { return ["absent"] }
        if let required = match?.entry.requires?.filled(with: match?.captures ?? [:]), !resolver.isAvailable(required) {
            return ["absent"]
        }
        return ["host"]
    }
}

extension CompositionPlan: CustomStringConvertible {
    package var description: String {
        var table = TextTable(header: ["plugin", "version", "sha256", "settings"])
        for plugin in plugins {
            let settings = plugin.settings.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
            table.add([
                plugin.instance, "\(plugin.id) \(plugin.version)", String(plugin.sha256.prefix(12)),
                settings.joined(separator: " "),
            ])
        }
        var text = table.isEmpty ? "no plugins\n" : table.render() + "\n"
        for point in points {
            text += "\n\(point.point.rawValue)\n"
            var rows = TextTable(header: ["", "hook", "", "name", "type", "from / read by", "cost"])
            for (index, hook) in point.hooks.enumerated() {
                var lead = ["\(index + 1)", hook.plugin]
                for (verb, values) in [("reads", hook.reads), ("gives", hook.provides)] {
                    for value in values {
                        let name = value.name + (value.isPrevious ? "@prev" : "")
                        rows.add(
                            (lead.isEmpty ? [" ", " "] : lead) + [
                                verb, name, value.type + (value.isOptional ? "?" : ""),
                                value.counterparts.isEmpty ? "host" : value.counterparts.joined(separator: ", "),
                                value.cost == .free ? " " : value.cost.rawValue,
                            ])
                        lead = []
                    }
                }
            }
            text += rows.render(indent: "  ") + "\n"
        }
        for note in notes { text += "\nnote: \(note)\n" }
        return text
    }
}
