/// Where in a training run a hook is called. The order of the cases is the order of the calls.
package enum HookPoint: String, CaseIterable, Sendable, Codable, Comparable {
    /// Once, before the first step.
    case plan
    /// For every micro-batch, between the forward and the backward pass.
    case preBackward = "pre_backward"
    /// Once per step, when every objective's gradient is known.
    case gradientCombine = "gradient_combine"
    /// Once per step, after the parameters changed.
    case postStep = "post_step"
    /// After an evaluation on held-out data.
    case evaluate
    /// Once, after the last step.
    case finish

    package static func < (left: Self, right: Self) -> Bool { left.order < right.order }

    private var order: Int { Self.allCases.firstIndex(of: self) ?? 0 }
}

/// The names a host offers to plugins and accepts from them: data, built by the host, printed by its tools.
///
/// A name has one immutable meaning. A changed meaning gets a new name.
package struct NameRegistry: Sendable {
    /// Who gives a value when no plugin does.
    package enum Provider: String, Sendable, Codable {
        /// The host always has a value; a plugin that produces the name replaces it.
        case host
        /// Only a plugin gives it.
        case plugin
    }

    /// What a value costs the host when somebody reads it.
    package enum Cost: String, Sendable, Codable {
        /// Known anyway.
        case free
        /// Computed on request, small beside a step.
        case cheap
        /// Needs a further pass or memory of the order of the model's gradients.
        case expensive
    }

    /// What a program that calls plugins has; `names.json` says what each means.
    package enum Host: String, Sendable, Codable, CaseIterable {
        case combine, features, vla
    }

    /// A family of names.
    package struct Entry: Sendable {
        /// `loss.{objective}`: a placeholder stands for any name.
        package var pattern: NameTemplate
        /// `f64`, `f32[b,t,d]`, or `like {target}`: the type of the value that the placeholder names.
        package var type: String
        /// Points at which a hook may read it.
        package var readable: Set<HookPoint>
        /// Points at which a hook may produce it.
        package var producible: Set<HookPoint>
        package var provider: Provider
        /// A name that must be provided for this one to exist: `tap.{tap}.layer` for `feature.{tap}`.
        package var requires: NameTemplate?
        /// At `plan`, hooks that read this name run after those that give that other one.
        package var after: NameTemplate?
        /// The table that lists what an integer may be (``CodeTable/named(_:)``).
        package var code: String?
        /// Several hooks may read and produce it, each taking what the one before it gave, in list order.
        package var isChained: Bool
        /// Several hooks may produce this scalar as long as they agree on its value.
        package var isShared: Bool
        /// Several hooks may produce it, each for itself; the host looks at every one.
        package var isCollected: Bool
        /// Hosts in which the name exists.
        package var hosts: Set<Host>
        package var cost: Cost
        /// One sentence: meaning, unit, when it is taken.
        package var doc: String

        /// A malformed pattern or type is a mistake in the host's source and stops the process.
        package init(
            _ pattern: String, type: String, readable: Set<HookPoint> = [], producible: Set<HookPoint> = [],
            provider: Provider, requires: String? = nil, after: String? = nil, code: String? = nil,
            isChained: Bool = false, isShared: Bool = false, isCollected: Bool = false,
            hosts: Set<Host> = Set(Host.allCases), cost: Cost = .free,
            doc: String
        ) {
            do {
                self.pattern = try NameTemplate(parsing: pattern)
                self.requires = try requires.map { text throws(SignatureError) in try NameTemplate(parsing: text) }
                self.after = try after.map { text throws(SignatureError) in try NameTemplate(parsing: text) }
                if !type.hasPrefix("like ") { _ = try ValueType(parsing: type) }
            } catch {
                preconditionFailure("registry entry '\(pattern)': \(error)")
            }
            precondition(
                code == nil || CodeTable.named(code ?? "") != nil,
                "registry entry '\(pattern)': no codes '\(code ?? "")'")
            self.type = type
            self.code = code
            self.hosts = hosts
            self.readable = readable
            self.producible = producible
            self.provider = provider
            self.isChained = isChained
            self.isShared = isShared
            self.isCollected = isCollected
            self.cost = cost
            self.doc = doc
        }
    }

    /// The one entry a concrete name belongs to, and what its placeholders stand for.
    package struct Match: Sendable {
        package var entry: Entry
        package var captures: [String: String]
        package var type: ValueType
    }

    package var entries: [Entry]

    package init(_ entries: [Entry]) { self.entries = entries }

    /// The registry of a host that computes the losses of `objectives` itself.
    package func giving(objectives: [String]) -> NameRegistry {
        NameRegistry(
            objectives.map {
                Entry(
                    "loss.\($0)", type: "f64", readable: [.gradientCombine, .postStep], provider: .host,
                    doc: "Value of the objective, mean over the step's micro-batches. The host computes it.")
            } + entries)
    }

    /// Whether `text` can stand for a placeholder in names, as an objective's name does.
    package static func isName(_ text: String) -> Bool { NameTemplate.isName(text) && !text.contains(".") }

    /// The entry for `name`, or `nil` when no pattern fits. Entries without placeholders win over those with.
    package func match(_ name: String) -> Match? {
        let ordered =
            entries.filter { $0.pattern.placeholders.isEmpty } + entries.filter { !$0.pattern.placeholders.isEmpty }
        for entry in ordered {
            for captures in entry.pattern.matches(name) {
                if let type = resolvedType(entry.type, captures) {
                    return Match(entry: entry, captures: captures, type: type)
                }
            }
        }
        return nil
    }

    /// `nil` when a `like` type refers to a name the registry does not have.
    private func resolvedType(_ text: String, _ captures: [String: String]) -> ValueType? {
        guard text.hasPrefix("like ") else { return try? ValueType(parsing: text) }
        guard let template = try? NameTemplate(parsing: String(text.dropFirst(5))),
            let target = template.filled(with: captures)
        else { return nil }
        // A target that is itself `like` something would make lookups circular; hosts have no use for it.
        for entry in entries where !entry.type.hasPrefix("like ") && !entry.pattern.matches(target).isEmpty {
            return try? ValueType(parsing: entry.type)
        }
        return nil
    }

    /// The name that a `like` entry takes its type and shape from; `nil` for other entries.
    func shapeSource(of match: Match) -> String? {
        guard match.entry.type.hasPrefix("like "),
            let template = try? NameTemplate(parsing: String(match.entry.type.dropFirst(5)))
        else { return nil }
        return template.filled(with: match.captures)
    }
}
