internal import Tensors

/// The modules of a model. Each declares its tensors when it is made.
struct ModelModules {
    let towers: [VisionTower]
    /// From the towers' joint width to the decoder's, with GELU between.
    let projector: [LinearLayer]
    let decoder: LanguageDecoder
    /// The action queries, [Q, D].
    let actionQueries: Int
    let policy: BridgePolicy
    /// From a state to the decoder's width, with GELU between.
    let proprio: (fc1: LinearLayer, fc2: LinearLayer)

    /// - `parameters`: where parameters are made; nil only lists the tensors.
    init(_ config: ModelConfig, fineTuning: FineTuning, declaring declarations: Declarations, parameters: ParameterSet?)
    {
        let backbone = ParameterDeclarer(
            declarations, parameters: parameters, fineTuning: fineTuning, isHead: false)
        let head = ParameterDeclarer(declarations, parameters: parameters, fineTuning: fineTuning, isHead: true)
        towers = config.towers.map { VisionTower($0, of: config, declaring: backbone) }
        let projectorScope = backbone.part(.projector, drawing: .fanIn)
        projector = (1..<config.projectorDims.count).map {
            projectorScope.linear("fc\($0)", inputs: config.projectorDims[$0 - 1], outputs: config.projectorDims[$0])
        }
        decoder = LanguageDecoder(config.decoder, declaring: backbone)
        let d = config.decoder.hiddenSize
        let queryDraw = LinearDraw.normal(deviation: Float(config.decoder.initializerRange))
        actionQueries = head.part(.actionQueries, drawing: queryDraw).tensor(
            "weight", [config.queries, d], queryDraw.weight(inputs: d))
        policy = BridgePolicy(config, declaring: head)
        let proprioScope = head.part(.proprioProjector, drawing: .uniform(.proprioBandwidth))
        proprio = (
            proprioScope.linear("fc1", inputs: config.proprioDim, outputs: d),
            proprioScope.drawing(.uniform(.proprioGain)).linear("fc2", inputs: d, outputs: d)
        )
    }
}
