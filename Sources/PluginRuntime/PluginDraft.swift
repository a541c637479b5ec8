internal import Spelling

/// A requested plugin on its way into a composition: file opened, settings checked, names filled in.
struct PluginDraft {
    struct Hook {
        let declared: PluginLibrary.Hook
        var inputs: [BoundHook.Argument]
        var results: [BoundHook.Argument]

        var point: HookPoint { declared.point }
    }

    let request: PluginRequest
    let library: PluginLibrary
    let settings: [(name: String, value: Parameter.Value)]
    let hooks: [Hook]

    /// Checks settings and fills names. What is wrong is appended to `problems`; a hook with a name that cannot be
    /// filled is left out.
    init(_ request: PluginRequest, _ library: PluginLibrary, problems: inout [CompositionProblem]) {
        self.request = request
        self.library = library
        settings = Self.resolve(request, library, &problems)
        var values = Dictionary(
            settings.map { ($0.name, $0.value.text) }, uniquingKeysWith: { first, _ in first })
        values["instance"] = request.instance

        var hooks: [Hook] = []
        for hook in library.hooks {
            func fill(_ items: [Signature.Item]) -> [BoundHook.Argument]? {
                var arguments: [BoundHook.Argument] = []
                for item in items {
                    do throws(SignatureError) {
                        arguments.append(try Self.argument(item, values, library))
                    } catch {
                        problems.append(
                            CompositionProblem(
                                kind: .unknownName, name: item.template.description, neededBy: request.instance,
                                point: hook.point, type: item.type.description, problem: error.description))
                        return nil
                    }
                }
                return arguments
            }
            if let inputs = fill(hook.signature.inputs), let results = fill(hook.signature.results) {
                hooks.append(Hook(declared: hook, inputs: inputs, results: results))
            }
        }
        self.hooks = hooks
    }

    /// The hooks as they are called.
    func boundHooks(_ form: CallForm) -> [BoundHook] {
        hooks.map {
            BoundHook(
                instance: request.instance, hook: $0.declared, inputs: $0.inputs, results: $0.results, form: form)
        }
    }

    /// What is recorded with a run.
    var loaded: LoadedPlugin {
        LoadedPlugin(
            path: library.path, sha256: library.sha256, libraries: library.libraries, id: library.id,
            version: library.version,
            summary: library.summary, instance: request.instance,
            settings: Dictionary(settings.map { ($0.name, $0.value.text) }, uniquingKeysWith: { first, _ in first }),
            hooks: hooks.map { hook in
                LoadedPlugin.Hook(
                    point: hook.point, signature: hook.declared.signature.description,
                    reads: hook.inputs.filter { !$0.isPrevious }.map(\.name), provides: hook.results.map(\.name))
            })
    }

    private static func argument(
        _ item: Signature.Item, _ values: [String: String], _ library: PluginLibrary
    ) throws(SignatureError) -> BoundHook.Argument {
        guard let name = item.template.filled(with: values) else {
            let unknown = item.template.placeholders.first { values[$0] == nil } ?? ""
            throw SignatureError(
                "the plugin's signature uses '{\(unknown)}', which is not one of its settings "
                    + "(\(library.parameters.map(\.name).joined(separator: ", ")))")
        }
        guard NameTemplate.isName(name) else {
            throw SignatureError("with these settings the name becomes '\(name)', which is not a name")
        }
        return BoundHook.Argument(
            name: name, type: item.type, isOptional: item.isOptional, isPrevious: item.isPrevious)
    }

    private static func resolve(
        _ request: PluginRequest, _ library: PluginLibrary, _ problems: inout [CompositionProblem]
    ) -> [(name: String, value: Parameter.Value)] {
        let names = library.parameters.map(\.name)
        for key in request.settings.keys.sorted() where !names.contains(key) {
            let known = names.isEmpty ? "the plugin has no settings" : "settings: \(names.joined(separator: ", "))"
            problems.append(
                CompositionProblem(
                    kind: .unknownSetting, name: key, neededBy: request.instance,
                    problem: "the plugin has no setting '\(key)'",
                    hint: Suggestion.hint(for: key, among: names, otherwise: known)))
        }
        var resolved: [(name: String, value: Parameter.Value)] = []
        for parameter in library.parameters {
            let text = request.settings[parameter.name] ?? parameter.defaultText
            do throws(Parameter.Rejection) {
                resolved.append((parameter.name, try parameter.value(of: text)))
            } catch {
                problems.append(
                    CompositionProblem(
                        kind: .invalidSetting, name: parameter.name, neededBy: request.instance,
                        type: parameter.kind.rawValue, problem: "setting '\(parameter.name)': \(error.problem)",
                        hint: error.hint))
            }
        }
        return resolved
    }
}
