import PluginRuntime

/// What `craft_runtime_describe` says.
struct Description: Encodable {
    /// A name that the host may give.
    struct Wanted: Encodable {
        let name: String
        let type: String
        let optional: Bool
        let point: String
    }

    struct Tap: Encodable {
        let name: String
        let layer: Int
        let tokens: String
        let pooling: String

        init(_ tap: TapRequest) {
            name = tap.name
            layer = tap.layer
            tokens = Description.name(tap.tokens)
            pooling = Description.name(tap.pooling)
        }
    }

    struct Probe: Encodable {
        let name: String
        let interval: Int
        let start: Int
        let prompts: [String]
        let template: String
        let cameras: Int
        let shares: [String: Double]
        let taps: [Tap]

        init(_ probe: ProbeRequest) {
            name = probe.name
            interval = probe.interval
            start = probe.start
            prompts = probe.prompts
            template = Description.name(probe.template)
            cameras = probe.cameras
            shares = probe.shares
            taps = probe.taps.map(Tap.init)
        }
    }

    // The names are those of the interface.
    // swift-format-ignore: AlwaysUseLowerCamelCase
    struct Decisions: Encodable {
        let block_scope: String
        let taps: [Tap]
        let probes: [Probe]
        let rate_scales: [String: Double]
        let multipliers: [String: Double]

        init(_ session: HookSession) {
            block_scope = Description.name(session.decisions.blockScope)
            taps = session.decisions.taps.map(Tap.init)
            probes = session.decisions.probes.map(Probe.init)
            rate_scales = session.decisions.rateScales
            multipliers = Dictionary(uniqueKeysWithValues: zip(session.objectives, session.multipliers))
        }
    }

    let objectives: [String]
    let plan: CompositionPlan
    let host: [Wanted]
    let decisions: Decisions?
    let blocks: [String]

    init(_ runtime: RuntimeSession) {
        let session = runtime.session
        objectives = session.objectives
        plan = session.composition.plan
        host = plan.points.flatMap { point in
            var seen: Set<String> = []
            return point.hooks.flatMap(\.reads).filter {
                $0.counterparts.contains("host") && !$0.isPrevious && seen.insert($0.name).inserted
            }.map { Wanted(name: $0.name, type: $0.type, optional: $0.isOptional, point: point.point.rawValue) }
        }
        decisions = runtime.phase == .opened ? nil : Decisions(session)
        blocks = session.blocks.names
    }

    private static func name(_ code: some HookCode) -> String {
        type(of: code).table.values.first { $0.code == code.rawValue }?.name ?? "\(code.rawValue)"
    }
}
