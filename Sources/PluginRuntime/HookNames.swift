// Generated from Sources/PluginAPI/names.json by scripts/generate_names.py: change names there.
extension NameRegistry {
    /// The names that craft's hosts offer to plugins and accept from them.
    ///
    /// Axis letters: b batch, h steps of an action chunk, a action width, t tokens, d hidden width, n answer positions,
    /// or parameters in grads, v vocabulary, k blocks, m objectives, p prompts, c bytes of a text.
    package static let training = NameRegistry(
        planNames + blockNames + batchNames + probeNames + gradientNames + driftNames + stepNames + textNames
            + sampleNames + streamNames)

    private static let inAStep: Set<HookPoint> = [.preBackward, .gradientCombine, .postStep]
    private static let afterPlan = inAStep.union([.evaluate, .finish])
    private static let everywhere = Set(HookPoint.allCases)

    /// What `plan` hooks learn about the model and decide about the run.
    private static let planNames: [Entry] = [
        Entry(
            "hidden_states", type: "i64", readable: [.plan], provider: .host, hosts: [.features, .vla],
            doc: "Number of hidden-state tensors: decoder layers plus one; index 0 is the embedding output."),
        Entry(
            "hidden_size", type: "i64", readable: [.plan], provider: .host, hosts: [.features, .vla],
            doc: "Width of a hidden state."),
        Entry(
            "visual_tokens", type: "i64", readable: [.plan], provider: .host, hosts: [.features, .vla],
            doc: "Visual tokens of one sample, all cameras together."),
        Entry(
            "queries", type: "i64", readable: [.plan], provider: .host, hosts: [.vla],
            doc: "Action queries of one sample."),
        Entry("batch", type: "i64", readable: [.plan], provider: .host, doc: "Samples in a micro-batch."),
        Entry("steps", type: "i64", readable: [.plan], provider: .host, doc: "Optimizer steps the run will take."),
        Entry(
            "tap.{id}.layer", type: "i64", producible: [.plan], provider: .plugin, code: "tap_layer",
            hosts: [.features, .vla], doc: "Index into the hidden states whose features tap {id} takes."),
        Entry(
            "tap.{id}.tokens", type: "i64", producible: [.plan], provider: .plugin, code: "tap_tokens",
            hosts: [.features, .vla], doc: "Positions the tap takes. Default: visual."),
        Entry(
            "tap.{id}.pooling", type: "i64", producible: [.plan], provider: .plugin, code: "tap_pooling",
            hosts: [.features, .vla], doc: "How the tap reduces its tokens. Default: mean."),
        Entry(
            "block_scope", type: "i64", producible: [.plan], provider: .plugin, code: "block_scope", isShared: true,
            doc: "What one block of the Gram matrices is. Default: tensor."),
        Entry(
            "weight.{objective}", type: "f64", producible: [.plan], provider: .plugin,
            doc: "Fixed multiplier of the objective, used when no plugin provides lambda.{objective}."),
        Entry(
            "objectives", type: "i64", readable: inAStep.union([.plan]), provider: .host,
            doc: "Objectives of the run, those that have no loss in a step included."),
        Entry(
            "lr_scale.{group}", type: "f64", producible: [.plan, .postStep], provider: .plugin, isShared: true,
            doc:
                "Factor on the learning rate of a parameter group, 0 or more: vision, projector, decoder, queries, policy or proprio. Multiplies that of --lr-scale. Produced by plan: the first; by post_step: that of the steps from the next one on. At 0 the group is left alone: no moments, no weight decay."
        ),
        Entry(
            "route.{objective}.{group}", type: "f64", producible: [.plan], provider: .plugin, hosts: [.vla],
            doc:
                "Factor on the gradient that the objective has in a parameter group. 0 cuts its backward pass there: below the last group that is not 0 no operation runs backwards, so that a cut costs less than nothing."
        ),
    ]

    /// Who the blocks are: known at `plan` once every hook has given its `block_scope`.
    private static let blockNames: [Entry] = [
        Entry(
            "block_group", type: "i64[k]", readable: [.plan, .gradientCombine, .postStep], provider: .host,
            after: "block_scope", code: "block_group", hosts: [.combine, .features, .vla],
            doc: "Parameter group of each block; -1 where a block has parameters of several."),
        Entry(
            "block_layer", type: "i64[k]", readable: [.plan, .gradientCombine, .postStep], provider: .host,
            after: "block_scope", hosts: [.combine, .features, .vla],
            doc:
                "Index of the transformer layer that each block belongs to, within its tower, decoder or action head; -1 outside of one, or where a block has several."
        ),
        Entry(
            "block_kind", type: "i64[k]", readable: [.plan, .gradientCombine, .postStep], provider: .host,
            after: "block_scope", code: "block_kind", hosts: [.combine, .features, .vla], doc: "What each block is."),
        Entry(
            "block_shape", type: "i64[k,2]", readable: [.plan, .gradientCombine, .postStep], provider: .host,
            after: "block_scope", hosts: [.combine, .features, .vla],
            doc:
                "Rows and columns of a block that is one matrix, its length and 1 of one vector, 0 and 0 of several tensors."
        ),
    ]

    /// What a micro-batch has, and the objectives that plugins make of it.
    private static let batchNames: [Entry] = [
        Entry(
            "predicted_actions", type: "f32[b,h,a]", readable: [.preBackward], provider: .host, hosts: [.vla],
            doc: "Normalised action chunks from the policy."),
        Entry(
            "target_actions", type: "f32[b,h,a]", readable: [.preBackward], provider: .host, hosts: [.vla],
            doc: "Normalised action chunks from the data."),
        Entry(
            "feature.{tap}", type: "f32[b,t,d]", readable: [.preBackward], provider: .host, requires: "tap.{tap}.layer",
            hosts: [.features, .vla], cost: .cheap,
            doc:
                "Features of tap {tap} under the current weights; t is 1 when the tap pools, and for all layers that many times the layers, one layer after the other. Absent while it is off."
        ),
        Entry(
            "anchor.{tap}", type: "f32[b,t,d]", readable: [.preBackward], provider: .host, requires: "tap.{tap}.layer",
            hosts: [.features, .vla], cost: .expensive,
            doc: "Features of the same batch under the initial weights: one further forward pass without tape."),
        Entry(
            "mask.{tap}", type: "f32[b,t]", readable: [.preBackward], provider: .host, requires: "tap.{tap}.layer",
            hosts: [.features, .vla], cost: .cheap,
            doc: "1 where a position of the tap holds a token, 0 where it is padding."),
        Entry(
            "answer_logits", type: "f32[n,v]", readable: [.preBackward], provider: .host, hosts: [.vla],
            cost: .expensive, doc: "Language-model logits at the answer positions of the question batch."),
        Entry(
            "answer_ids", type: "i64[n]", readable: [.preBackward], provider: .host, hosts: [.vla], cost: .cheap,
            doc: "Token ids that the answer positions should predict."),
        Entry(
            "loss.{objective}", type: "f64", readable: inAStep, producible: [.preBackward], provider: .plugin,
            doc:
                "Value of the objective on a micro-batch; after pre_backward, its mean over the step's micro-batches. Absent in a step without it: the objective then takes no part."
        ),
        Entry(
            "cotangent.{objective}.{target}", type: "like {target}", readable: [.preBackward],
            producible: [.preBackward], provider: .plugin, hosts: [.features, .vla], cost: .cheap,
            doc:
                "Derivative of the objective with respect to {target}: predicted_actions, feature.{tap}, answer_logits, text_logits, or one of these of a probe (probe.{probe}.logits) or a data stream."
        ),
    ]

    /// Further forward passes on the batch's images with prompts of a plugin, and what they give.
    private static let probeNames: [Entry] = [
        Entry(
            "probe.{probe}.interval", type: "i64", producible: [.plan], provider: .plugin, hosts: [.vla],
            doc: "Steps from one run of probe {probe} to the next; 0 turns it off."),
        Entry(
            "probe.{probe}.start", type: "i64", producible: [.plan], provider: .plugin, hosts: [.vla],
            doc: "First step in which the probe runs. Default: 0."),
        Entry(
            "probe.{probe}.end", type: "i64", producible: [.plan], provider: .plugin, hosts: [.vla],
            doc: "First step in which the probe runs no more. Default: none."),
        Entry(
            "probe.{probe}.prompts", type: "i64[p,c]", producible: [.plan], provider: .plugin, hosts: [.vla],
            doc:
                "Texts to ask, one a row, as UTF-8 bytes and then zeros; empty rows are skipped. Each sample gets one, drawn for every micro-batch, none twice before all are used."
        ),
        Entry(
            "probe.{probe}.template", type: "i64", producible: [.plan], provider: .plugin, code: "probe_template",
            hosts: [.vla],
            doc:
                "What is put around a text: the model's question prompt, its action prompt, or nothing. Default: question."
        ),
        Entry(
            "probe.{probe}.cameras", type: "i64", producible: [.plan], provider: .plugin, hosts: [.vla],
            doc: "Images of a sample: that many of its cameras, drawn for every sample, or 0 for all. Default: 0."),
        Entry(
            "probe.{probe}.share.unchanged", type: "f64", producible: [.plan], provider: .plugin, hosts: [.vla],
            doc:
                "Share of the samples whose images stay as the batch has them. Shares are 0 or more and count relative to their sum; without any, all stay."
        ),
        Entry(
            "probe.{probe}.share.jitter", type: "f64", producible: [.plan], provider: .plugin, hosts: [.vla],
            doc:
                "Share of the samples whose brightness, contrast, saturation and hue are changed as training's augmentation does."
        ),
        Entry(
            "probe.{probe}.share.shuffle", type: "f64", producible: [.plan], provider: .plugin, hosts: [.vla],
            doc: "Share of the samples whose colours are jittered and whose 4 x 4 tiles change places."),
        Entry(
            "probe.{probe}.share.mix", type: "f64", producible: [.plan], provider: .plugin, hosts: [.vla],
            doc:
                "Share of the samples whose colours are jittered and which are blended with another one's images, a quarter to three quarters of each."
        ),
        Entry(
            "probe.{probe}.tap.{tap}.layer", type: "i64", producible: [.plan], provider: .plugin, code: "tap_layer",
            hosts: [.vla], doc: "As tap.{id}.layer, for a tap of the probe."),
        Entry(
            "probe.{probe}.tap.{tap}.tokens", type: "i64", producible: [.plan], provider: .plugin, code: "tap_tokens",
            hosts: [.vla],
            doc: "As tap.{id}.tokens; a probe has no action queries. The first token of the prompt is only in all."),
        Entry(
            "probe.{probe}.tap.{tap}.pooling", type: "i64", producible: [.plan], provider: .plugin, code: "tap_pooling",
            hosts: [.vla], doc: "As tap.{id}.pooling."),
        Entry(
            "probe.{probe}.feature.{tap}", type: "f32[b,t,d]", readable: [.preBackward], provider: .host,
            requires: "probe.{probe}.tap.{tap}.layer", hosts: [.vla], cost: .expensive,
            doc:
                "Features of the probe's tap {tap} under the current weights: a further forward pass with its own backward pass. Absent in steps in which the probe does not run."
        ),
        Entry(
            "probe.{probe}.anchor.{tap}", type: "f32[b,t,d]", readable: [.preBackward], provider: .host,
            requires: "probe.{probe}.tap.{tap}.layer", hosts: [.vla], cost: .expensive,
            doc: "The same under the initial weights: one further forward pass without tape."),
        Entry(
            "probe.{probe}.mask.{tap}", type: "f32[b,t]", readable: [.preBackward], provider: .host,
            requires: "probe.{probe}.tap.{tap}.layer", hosts: [.vla], cost: .cheap,
            doc: "1 where a position of the probe's tap holds a token, 0 where it is padding."),
        Entry(
            "probe.{probe}.logits", type: "f32[b,v]", readable: [.preBackward], provider: .host,
            requires: "probe.{probe}.interval", hosts: [.vla], cost: .expensive,
            doc: "Language-model logits after the last token of each sample's prompt, under the current weights."),
        Entry(
            "probe.{probe}.anchor_logits", type: "f32[b,v]", readable: [.preBackward], provider: .host,
            requires: "probe.{probe}.interval", hosts: [.vla], cost: .expensive,
            doc: "The same under the initial weights."),
    ]

    /// What is known when every objective's gradient is.
    private static let gradientNames: [Entry] = [
        Entry(
            "gram", type: "f64[k,m,m]", readable: [.gradientCombine], provider: .host, cost: .cheap,
            doc: "Inner products of the objectives' gradients in each block, accumulated in double precision."),
        Entry(
            "weights", type: "f64[k,m]", readable: [.gradientCombine], producible: [.gradientCombine], provider: .host,
            isChained: true,
            doc: "Factor of each objective's gradient in each block; starts at the objectives' multipliers."),
        Entry(
            "losses", type: "f64[m]", readable: [.gradientCombine], provider: .host,
            doc: "Every objective's value, mean over the step's micro-batches, in the order of the rows of gram."),
        Entry(
            "numel", type: "i64[k]", readable: [.plan, .gradientCombine, .postStep], provider: .host,
            after: "block_scope", doc: "Parameters in each block."),
        Entry(
            "grads", type: "f32[m,n]", readable: [.gradientCombine], provider: .host, cost: .expensive,
            doc:
                "The objectives' gradients in full, n parameters in block order, numel of each: takes m more copies of the trainable parameters' memory."
        ),
        Entry(
            "order", type: "i64[m,m]", readable: [.gradientCombine], producible: [.gradientCombine], provider: .plugin,
            doc:
                "Random orders to use instead of a strategy's own: row i says in which order objective i meets the others, a permutation of all rows in which i itself is passed over."
        ),
        Entry(
            "uniforms", type: "f64[n]", readable: [.gradientCombine], producible: [.gradientCombine], provider: .plugin,
            cost: .cheap,
            doc: "Random numbers in [0, 1) to use instead of a strategy's own, one for each coordinate of grads."),
        Entry(
            "combined", type: "f32[n]", readable: [.gradientCombine], producible: [.gradientCombine], provider: .host,
            isChained: true, cost: .expensive,
            doc:
                "The gradient the optimizer follows, in the order of grads: what a hook gives replaces the sum of weights times gradients. Read, it is what the hook before gave, or that sum as the weights are by then."
        ),
        Entry(
            "gradient_norm.{objective}", type: "f64", readable: [.gradientCombine, .postStep], provider: .host,
            requires: "loss.{objective}",
            doc: "Length of the objective's gradient over all parameters, before weights and clipping."),
        Entry(
            "index.{objective}", type: "i64", readable: [.gradientCombine], provider: .host,
            requires: "loss.{objective}",
            doc: "Row of the objective in gram and weights; absent in a step in which it has no loss."),
        Entry(
            "rows", type: "i64[m]", readable: [.gradientCombine], provider: .host,
            doc:
                "Which of the run's objectives each row of gram is, counted from 0 in the order of the plugin list: objectives without a loss in the step have no row."
        ),
        Entry(
            "gram_cross", type: "f64[k,m,m]", readable: [.gradientCombine], provider: .host,
            hosts: [.combine, .features, .vla], cost: .expensive,
            doc:
                "Inner products of one half of the step's micro-batches with the other: row i of the first half, column j of the second, each half's gradients its own means. Unlike gram, noise that the halves do not share averages out. Without what drift cotangents add. Needs an even number of micro-batches and m more accumulators."
        ),
        Entry(
            "rate", type: "f64[k]", readable: [.gradientCombine], producible: [.gradientCombine], provider: .host,
            isChained: true, hosts: [.combine, .features, .vla],
            doc:
                "Factor on the learning rate of each block in this step; starts at 1. At 0 the block is left alone: no moments, no weight decay."
        ),
        Entry(
            "parameters", type: "f32[n]", readable: [.gradientCombine], provider: .host, hosts: [.vla],
            cost: .expensive,
            doc: "The trainable parameters, in the order of grads, before the step: a copy of them all."),
        Entry(
            "initial", type: "f32[n]", readable: [.gradientCombine], provider: .host, hosts: [.vla], cost: .expensive,
            doc: "The same at the start of the run."),
    ]

    /// How far the parameters are from where they started.
    private static let driftNames: [Entry] = [
        Entry(
            "drift2", type: "f64[k]", readable: inAStep, provider: .host, hosts: [.vla], cost: .cheap,
            doc: "Squared distance of each block's parameters from their initial values, before the step's update."),
        Entry(
            "drift_dot", type: "f64[k,m]", readable: [.gradientCombine], provider: .host, hosts: [.vla], cost: .cheap,
            doc: "Inner products of the objectives' gradients with the parameters' distance from their initial values."),
        Entry(
            "cotangent.{objective}.drift", type: "f64[k]", producible: [.preBackward], provider: .plugin, hosts: [.vla],
            cost: .cheap,
            doc:
                "Makes c times the distance from the initial values part of the objective's gradient in each block: the derivative of c/2 drift2. Takes part in gram."
        ),
        Entry(
            "pull", type: "f64[k]", readable: [.postStep], producible: [.postStep], provider: .host, isChained: true,
            hosts: [.vla], cost: .cheap,
            doc:
                "Share of the way back to its initial values that each block goes after the update, 0 to 1; starts at 0."
        ),
    ]

    /// What belongs to the step as a whole.
    private static let stepNames: [Entry] = [
        Entry("step", type: "i64", readable: afterPlan, provider: .host, doc: "Optimizer step, counted from 0."),
        Entry(
            "seed", type: "i64", readable: everywhere, provider: .host,
            doc: "Seed of the run: with step and instance the start of a plugin's own random numbers."),
        Entry(
            "lr", type: "f64", readable: inAStep, provider: .host,
            doc: "Learning rate of the step, before factors of parameter groups."),
        Entry(
            "lambda.{objective}", type: "f64", readable: inAStep, producible: [.plan, .postStep], provider: .host,
            requires: "loss.{objective}",
            doc:
                "Multiplier of the objective in this step. Produced by plan: its first value; by post_step: the next one."
        ),
        Entry(
            "metric.{name}", type: "f64", readable: inAStep, producible: inAStep.union([.evaluate]), provider: .plugin,
            doc: "A number to log under this name; after pre_backward, its mean over the step's micro-batches."),
        Entry(
            "block_metric.{name}", type: "f64[k]", producible: [.gradientCombine, .postStep], provider: .plugin,
            hosts: [.vla], doc: "A number for each block to log under this name, in block_metrics.jsonl."),
        Entry(
            "eval.{metric}", type: "f64", readable: [.evaluate, .finish], provider: .host, hosts: [.vla],
            doc:
                "A measure of the model on held-out data, by its internal name: held_out_action_l1, held_out_answer_accuracy, and with _average behind it that of the moving average. Absent where the run does not measure it."
        ),
        Entry(
            "stop", type: "f64", producible: [.postStep, .evaluate], provider: .plugin, isCollected: true,
            hosts: [.combine, .features, .vla],
            doc: "Other than 0 ends the run after this step, with a checkpoint. Several hooks may give it."),
    ]

    /// Answers of several tokens, and what the initial policy would do.
    private static let textNames: [Entry] = [
        Entry(
            "text_logits", type: "f32[n,v]", readable: [.preBackward], provider: .host, hosts: [.vla], cost: .expensive,
            doc:
                "Language-model logits at the positions that predict the tokens of the answers, sample by sample; each answer is in the sequence behind its question. The same values as answer_logits."
        ),
        Entry(
            "text_ids", type: "i64[n]", readable: [.preBackward], provider: .host, hosts: [.vla], cost: .cheap,
            doc: "Token ids that the positions of text_logits should predict."),
        Entry(
            "text_row", type: "i64[n]", readable: [.preBackward], provider: .host, hosts: [.vla], cost: .cheap,
            doc: "The sample that each position of text_logits belongs to, ascending."),
        Entry(
            "anchor_text_logits", type: "f32[n,v]", readable: [.preBackward], provider: .host, hosts: [.vla],
            cost: .expensive,
            doc: "text_logits of the same batch under the initial weights: one further forward pass without tape."),
        Entry(
            "anchor_actions", type: "f32[b,h,a]", readable: [.preBackward], provider: .host, hosts: [.vla],
            cost: .expensive,
            doc:
                "Actions that the policy would predict for the same batch under the initial weights, its head and its proprioception projector included: one further forward pass without tape."
        ),
    ]

    /// Which samples a batch has, and what the user knows of them.
    private static let sampleNames: [Entry] = [
        Entry(
            "sample_id", type: "i64[b]", readable: [.preBackward], provider: .host, hosts: [.vla], cost: .cheap,
            doc:
                "A number for each sample of the batch, the same in every epoch and run: of a demonstration episode * 10^6 + step in stored order, of a question its place in the file. The second data set of a mixture adds 10^15, and so on."
        ),
        Entry(
            "task_id", type: "i64[b]", readable: [.preBackward], provider: .host, hosts: [.vla], cost: .cheap,
            doc:
                "Which of the instructions that the run trains on, sorted, each sample has, counted from 0; of questions, which of the sorted questions."
        ),
        Entry(
            "side.{side}", type: "f32[b,d]", readable: [.preBackward], provider: .host, hosts: [.vla], cost: .cheap,
            doc:
                "What the user gave for each sample under --side {side}=FILE: a safetensors file with ids [N] (sample_id) and values [N, ...], a row of d numbers for each."
        ),
    ]

    /// Further data beside the run's own, which plugins ask for and the user gives: `--stream NAME=KIND:FOLDER`.
    private static let streamNames: [Entry] = [
        Entry(
            "stream.{stream}.interval", type: "i64", producible: [.plan], provider: .plugin, isShared: true,
            hosts: [.vla],
            doc:
                "Steps from one batch of data stream {stream} to the next; 0 turns it off. Where its data are is the user's to say: --stream {stream}=questions:FOLDER or demonstrations:FOLDER."
        ),
        Entry(
            "stream.{stream}.start", type: "i64", producible: [.plan], provider: .plugin, isShared: true, hosts: [.vla],
            doc: "First step in which the stream has a batch. Default: 0."),
        Entry(
            "stream.{stream}.batch", type: "i64", producible: [.plan], provider: .plugin, isShared: true, hosts: [.vla],
            doc: "Samples in a batch of the stream; 0 takes as many as the run's own batch has. Default: 0."),
        Entry(
            "stream.{stream}.kind", type: "i64", producible: [.plan], provider: .plugin, code: "stream_kind",
            isShared: true, hosts: [.vla],
            doc: "What the stream has to be of; refused when the user gave another. Default: whatever it is."),
        Entry(
            "stream.{stream}.tap.{tap}.layer", type: "i64", producible: [.plan], provider: .plugin, code: "tap_layer",
            hosts: [.vla], doc: "As tap.{id}.layer, for a tap of the stream."),
        Entry(
            "stream.{stream}.tap.{tap}.tokens", type: "i64", producible: [.plan], provider: .plugin, code: "tap_tokens",
            hosts: [.vla], doc: "As tap.{id}.tokens; questions have no action queries."),
        Entry(
            "stream.{stream}.tap.{tap}.pooling", type: "i64", producible: [.plan], provider: .plugin,
            code: "tap_pooling", hosts: [.vla], doc: "As tap.{id}.pooling."),
        Entry(
            "stream.{stream}.predicted_actions", type: "f32[b,h,a]", readable: [.preBackward], provider: .host,
            requires: "stream.{stream}.interval", hosts: [.vla], cost: .expensive,
            doc:
                "predicted_actions of a batch of the stream, a further forward pass; a stream of questions has none. All of a stream is absent in steps without a batch of it."
        ),
        Entry(
            "stream.{stream}.target_actions", type: "f32[b,h,a]", readable: [.preBackward], provider: .host,
            requires: "stream.{stream}.interval", hosts: [.vla], cost: .cheap,
            doc: "target_actions of the stream's batch."),
        Entry(
            "stream.{stream}.anchor_actions", type: "f32[b,h,a]", readable: [.preBackward], provider: .host,
            requires: "stream.{stream}.interval", hosts: [.vla], cost: .expensive,
            doc: "anchor_actions of the stream's batch."),
        Entry(
            "stream.{stream}.feature.{tap}", type: "f32[b,t,d]", readable: [.preBackward], provider: .host,
            requires: "stream.{stream}.tap.{tap}.layer", hosts: [.vla], cost: .expensive,
            doc: "Features of the stream's tap {tap} under the current weights."),
        Entry(
            "stream.{stream}.anchor.{tap}", type: "f32[b,t,d]", readable: [.preBackward], provider: .host,
            requires: "stream.{stream}.tap.{tap}.layer", hosts: [.vla], cost: .expensive,
            doc: "The same under the initial weights."),
        Entry(
            "stream.{stream}.mask.{tap}", type: "f32[b,t]", readable: [.preBackward], provider: .host,
            requires: "stream.{stream}.tap.{tap}.layer", hosts: [.vla], cost: .cheap,
            doc: "1 where a position of the stream's tap holds a token, 0 where it is padding."),
        Entry(
            "stream.{stream}.text_logits", type: "f32[n,v]", readable: [.preBackward], provider: .host,
            requires: "stream.{stream}.interval", hosts: [.vla], cost: .expensive,
            doc: "text_logits of the stream's batch; a stream of demonstrations has none."),
        Entry(
            "stream.{stream}.text_ids", type: "i64[n]", readable: [.preBackward], provider: .host,
            requires: "stream.{stream}.interval", hosts: [.vla], cost: .cheap, doc: "text_ids of the stream's batch."),
        Entry(
            "stream.{stream}.text_row", type: "i64[n]", readable: [.preBackward], provider: .host,
            requires: "stream.{stream}.interval", hosts: [.vla], cost: .cheap, doc: "text_row of the stream's batch."),
        Entry(
            "stream.{stream}.anchor_text_logits", type: "f32[n,v]", readable: [.preBackward], provider: .host,
            requires: "stream.{stream}.interval", hosts: [.vla], cost: .expensive,
            doc: "anchor_text_logits of the stream's batch."),
        Entry(
            "stream.{stream}.sample_id", type: "i64[b]", readable: [.preBackward], provider: .host,
            requires: "stream.{stream}.interval", hosts: [.vla], cost: .cheap,
            doc: "sample_id of the stream's batch, in the stream's own data."),
        Entry(
            "stream.{stream}.task_id", type: "i64[b]", readable: [.preBackward], provider: .host,
            requires: "stream.{stream}.interval", hosts: [.vla], cost: .cheap,
            doc: "task_id of the stream's batch, among the stream's own instructions."),
    ]
}
