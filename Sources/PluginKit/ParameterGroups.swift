extension BlockGroup {
    /// The groups that a setting lists, separated by spaces, commas or `|`. Throws ``PluginError``.
    ///
    /// - Parameters:
    ///   - text: the setting's value.
    ///   - setting: its name.
    public static func list(_ text: String, of setting: String) throws -> Set<BlockGroup> {
        let names = text.split { " ,|".contains($0) }
        return Set(
            try names.map { name in
                guard let group = allCases.first(where: { $0.name == name }) else {
                    throw PluginError(
                        "\(setting)='\(text)': '\(name)' is not a parameter group; there are "
                            + allCases.map(\.name).joined(separator: ", "))
                }
                return group
            })
    }
}

/// A number for every parameter group, under `prefix` and the group's name: `lr_scale.vision`.
public struct GroupOutputs: HookValues {
    @Output private var vision: Double?
    @Output private var projector: Double?
    @Output private var decoder: Double?
    @Output private var queries: Double?
    @Output private var policy: Double?
    @Output private var proprio: Double?

    /// - Parameter prefix: with its dot.
    public init(_ prefix: String) {
        _vision = Output(prefix + BlockGroup.vision.name)
        _projector = Output(prefix + BlockGroup.projector.name)
        _decoder = Output(prefix + BlockGroup.decoder.name)
        _queries = Output(prefix + BlockGroup.queries.name)
        _policy = Output(prefix + BlockGroup.policy.name)
        _proprio = Output(prefix + BlockGroup.proprio.name)
    }

    /// - Parameter number: of a group; nil leaves it out.
    public func give(_ number: (BlockGroup) throws -> Double?) rethrows {
        vision = try number(.vision)
        projector = try number(.projector)
        decoder = try number(.decoder)
        queries = try number(.queries)
        policy = try number(.policy)
        proprio = try number(.proprio)
    }
}
