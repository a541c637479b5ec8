internal import Spelling

/// Turns drafts into an order of calls, collecting everything that is wrong on the way.
struct CompositionResolver {
    /// A hook of the list: which draft, which of its hooks.
    struct Node: Hashable {
        let draft: Int
        let hook: Int
    }

    let drafts: [PluginDraft]
    let registry: NameRegistry
    let search: PluginSearch
    private(set) var problems: [CompositionProblem] = []
    /// Every hook that produces a name, in list order.
    private(set) var providers: [String: [Node]] = [:]

    init(drafts: [PluginDraft], registry: NameRegistry, search: PluginSearch) {
        self.drafts = drafts
        self.registry = registry
        self.search = search
        for node in nodes { for result in self[node].results { providers[result.name, default: []].append(node) } }
    }

    /// All hooks in list order.
    var nodes: [Node] {
        drafts.indices.flatMap { draft in drafts[draft].hooks.indices.map { Node(draft: draft, hook: $0) } }
    }

    subscript(node: Node) -> PluginDraft.Hook { drafts[node.draft].hooks[node.hook] }

    func instance(_ node: Node) -> String { drafts[node.draft].request.instance }

    /// Hooks of each point in the order they run. `problems` holds what was wrong; the order is then not meaningful.
    mutating func resolve() -> [HookPoint: [Node]] {
        checkNames()
        checkDuplicates()
        checkProviders()
        let order = order()
        checkCombined(order[.gradientCombine] ?? [])
        return order
    }

    /// A combined gradient stands for every weight given before it: weights given after it would do nothing.
    private mutating func checkCombined(_ order: [Node]) {
        func gives(_ name: String, _ node: Node) -> Bool { self[node].results.contains { $0.name == name } }
        guard let last = order.lastIndex(where: { gives("combined", $0) }) else { return }
        for node in order[(last + 1)...] where gives("weights", node) {
            problems.append(
                CompositionProblem(
                    kind: .ignoredResult, name: "weights", providedBy: instance(node), point: .gradientCombine,
                    type: registry.match("weights")?.type.description ?? "",
                    problem:
                        "\(instance(order[last])) gives the combined gradient itself, so weights given after it would "
                        + "be ignored",
                    hint: "list \(instance(node)) before \(instance(order[last])), or leave one of them out"))
        }
    }

    // MARK: - Names, points and types

    private mutating func checkNames() {
        for node in nodes {
            let hook = self[node]
            for input in hook.inputs { check(input, node, hook.point, isResult: false) }
            for result in hook.results { check(result, node, hook.point, isResult: true) }
        }
    }

    private mutating func check(_ argument: BoundHook.Argument, _ node: Node, _ point: HookPoint, isResult: Bool) {
        var problem = CompositionProblem(
            kind: .unknownName, name: argument.name, point: point, type: argument.type.description, problem: "")
        if isResult { problem.providedBy = instance(node) } else { problem.neededBy = instance(node) }
        guard let match = registry.match(argument.name) else {
            problem.problem = "the host knows no value of this name"
            let possible = registry.entries.filter { (isResult ? $0.producible : $0.readable).contains(point) }
            let patterns = possible.map(\.pattern.description)
            let produced = providers.keys.filter { registry.match($0) != nil }.sorted()
            problem.hint = Suggestion.hint(
                for: argument.name, among: registry.entries.map(\.pattern.description) + produced,
                otherwise:
                    "\(isResult ? "accepted" : "offered") at \(point.rawValue): \(patterns.joined(separator: ", "))")
            problems.append(problem)
            return
        }
        let points = isResult ? match.entry.producible : match.entry.readable
        if !points.contains(point) && !argument.isPrevious {
            problem.kind = .wrongPoint
            let verb = isResult ? "produced" : "read"
            problem.problem = "it cannot be \(verb) at \(point.rawValue)"
            problem.hint =
                points.isEmpty
                ? "plugins never have it \(verb)"
                : "possible at \(points.sorted().map(\.rawValue).joined(separator: ", "))"
            problems.append(problem)
        }
        if !match.type.accepts(argument.type) {
            problem.kind = .wrongType
            problem.problem = "the plugin declares \(argument.type), the host has \(match.type)"
            problem.hint = "change the plugin's signature"
            problems.append(problem)
        }
    }

    // MARK: - Providers

    private func isChained(_ name: String) -> Bool { registry.match(name)?.entry.isChained ?? false }

    /// A name has one provider for its initial value (`plan`) and one afterwards.
    private mutating func checkDuplicates() {
        for (name, nodes) in providers.sorted(by: { $0.key < $1.key }) {
            let entry = registry.match(name)?.entry
            if entry?.isChained == true || entry?.isShared == true || entry?.isCollected == true { continue }
            for group in [nodes.filter { self[$0].point == .plan }, nodes.filter { self[$0].point != .plan }] {
                guard group.count > 1, let last = group.last else { continue }
                let instances = group.map(instance)
                problems.append(
                    CompositionProblem(
                        kind: .duplicateProvider, name: name, providedBy: instances.joined(separator: ", "),
                        point: self[last].point, type: registry.match(name)?.type.description ?? "",
                        problem: "\(group.count) hooks produce it, only one may",
                        hint: "remove one of them, or give it another objective or instance name"))
            }
        }
    }

    private mutating func checkProviders() {
        var reported: Set<String> = []
        for node in nodes {
            let hook = self[node]
            for input in hook.inputs where !input.isOptional && !input.isPrevious {
                guard let missing = missing(input.name, for: node) else { continue }
                guard reported.insert("\(node.draft) \(missing.root)").inserted else { continue }
                problems.append(
                    CompositionProblem(
                        kind: .missingProvider, name: missing.root, neededBy: instance(node), point: hook.point,
                        type: registry.match(missing.root)?.type.description ?? input.type.description,
                        problem: missing.problem, hint: missing.hint ?? providerHint(missing.root)))
            }
        }
    }

    /// Why nothing gives `name` to the hook by the time it first runs; `nil` when something does. `root` is the name
    /// that has to be provided.
    private func missing(_ name: String, for node: Node) -> (root: String, problem: String, hint: String?)? {
        guard let match = registry.match(name) else { return nil }
        let point = self[node].point
        let others = (providers[name] ?? []).filter { $0 != node }
        if others.contains(where: { self[$0].point <= point }) { return nil }
        if match.entry.provider == .host {
            guard let root = match.entry.requires?.filled(with: match.captures), !isAvailable(root) else { return nil }
            return (root, root == name ? "nobody provides it" : "nobody provides it, and '\(name)' needs it", nil)
        }
        if let later = others.first {
            return (
                name, "it is produced only later, at \(self[later].point.rawValue) by \(instance(later))",
                "read the previous step's value: '\(name)@prev', optional"
            )
        }
        return (name, "nobody provides it", nil)
    }

    /// Whether a plugin gives `name`, or the host can.
    func isAvailable(_ name: String) -> Bool {
        if providers[name] != nil { return true }
        guard let match = registry.match(name), match.entry.provider == .host else { return false }
        guard let root = match.entry.requires?.filled(with: match.captures), root != name else { return true }
        return isAvailable(root)
    }

    /// Names the plugins in the search folders that would provide `name` with their default settings.
    private func providerHint(_ name: String) -> String {
        var found: [String] = []
        for (plugin, path) in search.available() {
            guard let library = try? PluginLibrary(path: path) else { continue }
            var ignored: [CompositionProblem] = []
            let draft = PluginDraft(PluginRequest(name: plugin), library, problems: &ignored)
            if draft.hooks.contains(where: { $0.results.contains { $0.name == name } }) { found.append(plugin) }
        }
        if !found.isEmpty { return "add \(found.joined(separator: " or ")) to the plugins: it provides '\(name)'" }
        if let near = Suggestion.nearest(to: name, among: providers.keys.sorted()) {
            return
                "did you mean '\(near)', which \(providers[near].flatMap(\.first).map(instance) ?? "a plugin") provides?"
        }
        return "add a plugin that produces it"
    }

    // MARK: - Order

    /// A producer runs before those that read its value at the same point; hooks of a chained name keep list order;
    /// everything else keeps list order too.
    mutating func order() -> [HookPoint: [Node]] {
        var result: [HookPoint: [Node]] = [:]
        for point in HookPoint.allCases {
            let members = nodes.filter { self[$0].point == point }
            var after: [Node: [(node: Node, name: String)]] = [:]
            for reader in members {
                for input in self[reader].inputs where !input.isPrevious && !isChained(input.name) {
                    let names = [input.name] + (point == .plan ? [prerequisite(of: input.name)].compactMap(\.self) : [])
                    for name in names {
                        for provider in providers[name] ?? []
                        where provider != reader && self[provider].point == point {
                            after[reader, default: []].append((provider, name))
                        }
                    }
                }
            }
            for (index, later) in members.enumerated() {
                for earlier in members[..<index] {
                    let shared = chainedNames(earlier).intersection(chainedNames(later)).sorted()
                    if let name = shared.first { after[later, default: []].append((earlier, name)) }
                }
            }
            var placed: [Node] = []
            var remaining = members
            while !remaining.isEmpty {
                guard
                    let next = remaining.firstIndex(where: { node in
                        (after[node] ?? []).allSatisfy { placed.contains($0.node) }
                    })
                else {
                    reportCycle(remaining, after, point)
                    break
                }
                placed.append(remaining.remove(at: next))
            }
            result[point] = placed
        }
        return result
    }

    /// The name that has to be decided before `name` has a value at `plan`.
    private func prerequisite(of name: String) -> String? {
        registry.match(name).flatMap { $0.entry.after?.filled(with: $0.captures) }
    }

    private func chainedNames(_ node: Node) -> Set<String> {
        Set((self[node].inputs + self[node].results).map(\.name).filter(isChained))
    }

    private mutating func reportCycle(
        _ remaining: [Node], _ after: [Node: [(node: Node, name: String)]], _ point: HookPoint
    ) {
        // Every remaining hook waits for another remaining one: following those ends in the cycle.
        guard var node = remaining.first else { return }
        var path: [(node: Node, name: String)] = []
        while !path.contains(where: { $0.node == node }) {
            guard let wait = (after[node] ?? []).first(where: { remaining.contains($0.node) }) else { return }
            path.append((node, wait.name))
            node = wait.node
        }
        let cycle = path.drop { $0.node != node }
        let steps = cycle.map { "\(instance($0.node)) needs '\($0.name)'" }
        let last = cycle.first.map { instance($0.node) } ?? ""
        problems.append(
            CompositionProblem(
                kind: .cycle, name: cycle.map(\.name).joined(separator: ", "),
                neededBy: cycle.map { instance($0.node) }.joined(separator: ", "), point: point,
                problem: "these hooks wait for each other: \(steps.joined(separator: " from ")) from \(last)",
                hint: "let one of them read the previous step's value ('name@prev')"))
    }
}
