internal import Foundation
package import Tensors

/// Which parts of a model the optimizer may change.
package enum FineTuning: Sendable, Equatable {
    /// Every tensor that takes part.
    case full
    /// Low-rank adapters on the vision-language model's linear layers; queries, policy and proprioception in full.
    case lowRank(AdapterSettings)
    /// Nothing: the model is run as it is.
    case frozen
}

/// Inputs of one forward pass. B samples, C cameras, S pixels a side.
package struct ModelInput {
    /// 8-bit RGB images [B, C, S, S, 3], or pixels already normalised, [B, 3 * towers * C, S, S], camera-major.
    package enum Images {
        case rgb([UInt8])
        case normalised([Float])
    }

    package var images: Images
    package var cameras: Int
    /// Token ids of each sample's prompt, at least one each.
    package var prompts: [[Int32]]
    /// What the policy reads besides the hidden states; nil runs the vision-language model alone, without queries.
    package var action: ActionInput?
    /// Whether logits over the vocabulary are computed where each sample's answer is read: at its last prompt token, or at
    /// the positions that ``answerLengths`` says.
    package var wantsAnswer: Bool
    /// Tokens of each sample's answer, of which all but the last stand at the end of its prompt: each of the positions that
    /// predict one has logits. Empty: answers of one token. More than one is for causal decoders.
    package var answerLengths: [Int]

    package struct ActionInput {
        /// Normalised proprioception, [B, 8].
        package var proprio: [Float]
        /// Policy input, [chunk, actionDim * D], the same for every sample. Empty: zeros, as at inference; so does nil, in whose
        /// place a training step puts noise.
        package var policyInput: [Float]?
        /// Whether the policy runs; without it the sequence still has queries, for their features.
        package var runsPolicy: Bool

        package init(proprio: [Float], policyInput: [Float]? = nil, runsPolicy: Bool = true) {
            self.proprio = proprio
            self.policyInput = policyInput
            self.runsPolicy = runsPolicy
        }
    }

    package init(
        images: Images, cameras: Int, prompts: [[Int32]], action: ActionInput? = nil, wantsAnswer: Bool = false,
        answerLengths: [Int] = []
    ) {
        self.images = images
        self.cameras = cameras
        self.prompts = prompts
        self.action = action
        self.wantsAnswer = wantsAnswer
        self.answerLengths = answerLengths
    }
}

/// Results of one forward pass, valid until the tape is reset.
package struct ModelOutput {
    package let layout: SequenceLayout
    /// Decoder layers + 1 matrices [B * T, D]. Without the policy only those that taps and answer read, and of the last
    /// perhaps the answer rows alone.
    package let hiddenStates: ArenaList<Tensor>
    /// Visual tokens after the projector, [B * N, D].
    package let projectedPatches: Tensor
    /// [B * chunk, actionDim], normalised; nil when the policy did not run.
    package let predictedActions: Tensor?
    /// [B, vocabulary], or a row for each token of the answers, sample by sample; nil unless asked for.
    package let answerLogits: Tensor?
    /// Taps in the order they were asked for.
    package let features: ArenaList<TappedFeature>
}

/// The parts of a forward pass in order, as the tape's stages. The action queries enter with the decoder.
package enum ForwardStage: Int, Sendable {
    case vision, projector, decoder, policy
}

/// A vision-language-action model of the VLA-Adapter family: towers, projector, decoder, queries, bridge policy.
package final class VLAModel {
    package let config: ModelConfig
    package let fineTuning: FineTuning
    package let parameters = ParameterSet()
    let modules: ModelModules
    /// First values of every parameter, by id.
    let fresh: [FreshValues]
    private let policyRotary: RotaryTable?
    private var rotary: RotaryTable

    /// Declares the model's parameters and makes zero-filled storage for them.
    package init(config: ModelConfig, fineTuning: FineTuning) {
        self.config = config
        self.fineTuning = fineTuning
        let declarations = Declarations()
        modules = ModelModules(
            config, fineTuning: fineTuning, declaring: declarations, parameters: parameters)
        fresh = declarations.fresh
        parameters.seal()
        let visual = config.patchesPerImage * config.cameras
        policyRotary =
            config.policy.pro
            ? RotaryTable(
                positions: max(visual, config.queries + 1, config.chunk),
                headDim: config.policy.dim / config.policy.heads, base: 10_000) : nil
        rotary = RotaryTable(
            positions: visual + config.queries + 64, headDim: config.decoder.headDim, base: config.decoder.ropeTheta,
            scaling: config.decoder.ropeScaling)
    }

    /// The parameter of the action queries, [Q, D].
    package var actionQueries: Int { modules.actionQueries }

    /// Parameter ids of the vision-language model, queries and adapters included: what an anchor keeps.
    package var backboneParameters: [Int] {
        parameters.parameters.indices.filter { !isHeadParameter(parameters[$0].name) }
    }

    /// Width of one row of the policy's input.
    package var policyInputCount: Int { config.chunk * modules.policy.inputWidth }

    /// Whether a parameter belongs to the action head or the proprioception projector.
    package func isHeadParameter(_ name: String) -> Bool {
        ModelPart(of: name).map { !$0.isBackbone } ?? false
    }

    /// Runs the model on a tape that has been reset.
    ///
    /// - `usesAdapters`: false leaves low-rank updates out.
    /// - `taps`: features to take; layers index the hidden states.
    package func forward(
        _ input: ModelInput, taps: [FeatureTap] = [], usesAdapters: Bool = true, on tape: Tape
    ) -> ModelOutput {
        let run = ForwardRun(tape: tape, usesAdapters: usesAdapters)
        let demands = tape.shortcuts.contains(.demandedStates)
        let input =
            tape.isRecording || !demands || !tape.parallel.hasRowwiseProducts ? input : needed(of: input, for: taps)
        let batch = input.prompts.count
        precondition(batch > 0 && input.prompts.allSatisfy { !$0.isEmpty }, "every sample has a prompt")
        let visual = config.patchesPerImage * input.cameras
        let layout = SequenceLayout(
            visual: visual, queries: input.action == nil ? 0 : config.queries, promptLengths: input.prompts.map(\.count)
        )
        if layout.tokens > rotary.positions {
            rotary = RotaryTable(
                positions: layout.tokens + 64, headDim: config.decoder.headDim, base: config.decoder.ropeTheta,
                scaling: config.decoder.ropeScaling)
        }

        tape.stage = ForwardStage.vision.rawValue
        defer { tape.stage = ForwardStage.vision.rawValue }
        var features: Tensor?
        for (index, tower) in modules.towers.enumerated() {
            let pixels = input.images.patches(
                tower: index, of: config, batch: batch, cameras: input.cameras, on: tape)
            let output = tower(pixels, on: run)
            features = features.map { tape.concatenateColumns($0, output) } ?? output
        }
        tape.stage = ForwardStage.projector.rawValue
        guard var projected = features else { preconditionFailure("a model has at least one tower") }
        for (index, layer) in modules.projector.enumerated() {
            projected = layer(projected, on: run)
            if index < modules.projector.count - 1 { projected = tape.gelu(projected) }
        }
        tape.stage = ForwardStage.decoder.rawValue
        let embeddings = assemble(projected, prompts: input.prompts, layout: layout, on: tape)
        let answers = answerRows(of: input, layout, on: tape)
        let demand =
            input.action?.runsPolicy == true || !demands
            ? StateDemand.all(layers: config.decoder.layers)
            : StateDemand(
                taps: taps, answers: answers, layers: config.decoder.layers, layout: layout,
                rowwise: tape.parallel.hasRowwiseProducts, on: tape)
        let states = modules.decoder(embeddings, layout: layout, rotary: rotary, demand: demand, on: run)
        tape.stage = ForwardStage.policy.rawValue
        let tapped = tape.list(taps.count) { taps[$0].apply(to: states, layout: layout, demand: demand, on: tape) }
        let predicted = input.action.flatMap { action in
            action.runsPolicy ? runPolicy(action, states: states, layout: layout, on: run) : nil
        }
        var logits: Tensor?
        // The head is the decoder's, and nothing of the policy lies below it.
        tape.stage = ForwardStage.decoder.rawValue
        if input.wantsAnswer {
            let rows = tape.list(answers.count) {
                RowReference(source: 0, row: demand.row(Int(answers[$0]), ofState: config.decoder.layers))
            }
            let last = tape.gatherRows(rows, of: states[states.count - 1])
            logits = tape.linear(last, weight: modules.decoder.head)
        }
        return ModelOutput(
            layout: layout, hiddenStates: states, projectedPatches: projected, predictedActions: predicted,
            answerLogits: logits, features: tapped)
    }

    /// The input without the ends of sequences that nothing reads: in a causal decoder they change no earlier token.
    private func needed(of input: ModelInput, for taps: [FeatureTap]) -> ModelInput {
        guard config.decoder.isCausal, input.action?.runsPolicy != true, !taps.isEmpty,
            taps.allSatisfy({ [.visual, .visualAndPrompt, .prompt].contains($0.tokens) })
        else { return input }
        var input = input
        input.action = nil
        if !input.wantsAnswer && taps.allSatisfy({ $0.tokens == .visual }) {
            input.prompts = input.prompts.map { Array($0.prefix(1)) }
        }
        return input
    }

    /// Rows of the decoder's states whose logits are wanted, ascending.
    private func answerRows(of input: ModelInput, _ layout: SequenceLayout, on tape: Tape) -> ArenaList<Int32> {
        guard input.wantsAnswer else { return tape.list(of: Int32.self, capacity: 0) }
        let lengths = input.answerLengths
        precondition(lengths.isEmpty || lengths.count == layout.batch, "an answer for every sample")
        precondition(config.decoder.isCausal || lengths.allSatisfy { $0 == 1 }, "longer answers need a causal decoder")
        var rows = tape.list(of: Int32.self, capacity: lengths.isEmpty ? layout.batch : lengths.reduce(0, +))
        for sample in 0..<layout.batch {
            for row in layout.answerRows(sample, tokens: lengths.isEmpty ? 1 : lengths[sample]) {
                rows.append(Int32(row))
            }
        }
        return rows
    }

    private func runPolicy(
        _ action: ModelInput.ActionInput, states: ArenaList<Tensor>, layout: SequenceLayout, on run: ForwardRun
    ) -> Tensor {
        let tape = run.tape
        let batch = layout.batch
        precondition(!config.usesProprio || action.proprio.count == batch * config.proprioDim)
        precondition(action.policyInput.map { $0.isEmpty || $0.count == policyInputCount } ?? true)
        let state = tape.constant(rows: batch, columns: config.proprioDim)
        if config.usesProprio {
            state.values.update(from: action.proprio, count: state.count)
        } else {
            state.values.update(repeating: 0, count: state.count)
        }
        let embedded = modules.proprio.fc2(tape.gelu(modules.proprio.fc1(state, on: run)), on: run)
        let start = tape.constant(rows: config.chunk, columns: modules.policy.inputWidth)
        if let input = action.policyInput, !input.isEmpty {
            start.values.update(from: input, count: start.count)
        } else {
            start.values.update(repeating: 0, count: start.count)
        }
        func window(_ state: Tensor, _ places: (Int) -> Range<Int>) -> Tensor {
            var rows = tape.list(of: RowReference.self, capacity: batch * places(0).count)
            for sample in 0..<batch {
                for row in places(sample) { rows.append(RowReference(source: 0, row: row)) }
            }
            return tape.gatherRows(rows, of: state)
        }
        let conditions = tape.list(config.policy.blocks) { block in
            BridgePolicy.Condition(
                task: window(states[block + 1], layout.taskWindow),
                adapter: window(states[block + 1], layout.adapterWindow))
        }
        return modules.policy(
            input: start, conditions: conditions, proprio: embedded, batch: batch, rotary: policyRotary, on: run)
    }

    private func assemble(
        _ projected: Tensor, prompts: [[Int32]], layout: SequenceLayout, on tape: Tape
    ) -> Tensor {
        var rows = tape.list(of: RowReference.self, capacity: layout.batch * layout.tokens)
        for (sample, prompt) in prompts.enumerated() {
            for (place, token) in prompt.enumerated() {
                rows.append(RowReference(source: 0, row: Int(token)))
                if place > 0 { continue }
                for patch in 0..<layout.visual {
                    rows.append(RowReference(source: 1, row: sample * layout.visual + patch))
                }
            }
            for query in 0..<layout.queries { rows.append(RowReference(source: 2, row: query)) }
            while rows.count < (sample + 1) * layout.tokens { rows.append(.zero) }
        }
        var sources = tape.list(of: RowSource.self, capacity: 3)
        sources.append(.parameter(modules.decoder.embedding))
        sources.append(.tensor(projected))
        sources.append(.parameter(actionQueries))
        return tape.gatherRows(rows, from: sources, columns: projected.columns)
    }
}
