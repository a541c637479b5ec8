internal import Formats
internal import Models
internal import PluginRuntime

/// What `plan` hooks made of a model: the passes a step takes, and what one set of weights applies to.
struct StepPlan {
    let taps: [FeatureTap]
    let probes: [Probe]
    let streams: [StreamRequest]
    let blocks: ParameterBlocks
    let routes: ObjectiveRoutes

    /// - Parameters:
    ///   - encodePrompt: turns a probe's text, in one of the model's prompts, into token ids; nil refuses probes.
    init(
        _ session: HookSession, model: VLAModel, settings: StepSettings, batchSize: Int, steps: Int,
        absent: [String: String], streams given: StreamSources, encodePrompt: PromptEncoding?
    ) throws {
        var facts = PlanFacts()
        facts.hiddenStates = model.config.decoder.layers + 1
        facts.hiddenSize = model.config.decoder.hiddenSize
        facts.visualTokens = model.config.patchesPerImage * model.config.cameras
        facts.cameras = model.config.cameras
        facts.queries = model.config.queries
        facts.batch = batchSize
        facts.steps = steps
        facts.seed = settings.seed
        facts.groups = ParameterGroup.allCases.map(\.rawValue)
        facts.blocks = { ParameterBlocks(of: model.parameters, scope: $0).facts }
        facts.absent = absent
        if settings.accumulation % 2 != 0 {
            facts.absent["gram_cross"] =
                "it is taken between two halves of a step's micro-batches, and a step has \(settings.accumulation): give an "
                + "even `accumulation`"
        }
        facts.streams = given.kinds
        facts.streamAdvice = StreamSetting.advice
        let decisions = try session.plan(facts)
        streams = decisions.streams
        taps = decisions.taps.map(FeatureTap.init)
        probes = try decisions.probes.map { request in
            try Probe(request) { text, template in
                guard let encodePrompt else { throw TrainingError(.missing, "probes need the model's tokenizer.json") }
                return try encodePrompt(text, template)
            }
        }
        blocks = ParameterBlocks(of: model.parameters, scope: decisions.blockScope)
        routes = ObjectiveRoutes(decisions.routes, of: model.parameters)
    }
}

extension FeatureTap {
    init(_ request: TapRequest) {
        let tokens: Tokens =
            switch request.tokens {
            case .visual: .visual
            case .visualAndPrompt: .visualAndPrompt
            case .prompt: .prompt
            case .queries: .query
            case .all: .all
            }
        self.init(
            name: request.name, layer: request.layer, tokens: tokens, pooling: Int(request.pooling.rawValue))
    }
}
