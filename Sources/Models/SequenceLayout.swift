package import Tensors

/// Where the tokens of a batch stand: token 0, visual tokens, tokens 1 ..< P, action queries, padding.
///
/// Positions come from each sample's own prompt length, never from the padded one.
package struct SequenceLayout: Sendable {
    /// Visual tokens per sample, all cameras (N).
    package let visual: Int
    /// Action queries per sample (Q), 0 when the sequence has none.
    package let queries: Int
    /// Prompt tokens of each sample.
    package let promptLengths: [Int]
    /// Rows per sample, padding included.
    package let tokens: Int

    package init(visual: Int, queries: Int, promptLengths: [Int]) {
        self.visual = visual
        self.queries = queries
        self.promptLengths = promptLengths
        tokens = visual + queries + (promptLengths.max() ?? 0)
    }

    package var batch: Int { promptLengths.count }

    /// Tokens of a sample that count.
    package func length(_ sample: Int) -> Int { visual + promptLengths[sample] + queries }

    /// Rows of a sample's visual tokens in a [batch * tokens, D] matrix, the true patch positions.
    package func visualRows(_ sample: Int) -> Range<Int> { rows(sample, 1, visual) }

    /// Rows of a sample's prompt tokens after the visual ones.
    package func promptRows(_ sample: Int) -> Range<Int> { rows(sample, visual + 1, promptLengths[sample] - 1) }

    /// Rows of a sample's action queries.
    package func queryRows(_ sample: Int) -> Range<Int> { rows(sample, visual + promptLengths[sample], queries) }

    /// Rows that predict an answer of so many tokens, of which all but the last end a sample's prompt.
    package func answerRows(_ sample: Int, tokens count: Int) -> Range<Int> {
        precondition((1...promptLengths[sample]).contains(count), "a prompt has a token before its answer")
        return rows(sample, visual + promptLengths[sample] - count, count)
    }

    /// The policy's "task" window: positions 0 ..< N. One too early, as released weights expect.
    package func taskWindow(_ sample: Int) -> Range<Int> { rows(sample, 0, visual) }

    /// The policy's "adapter" window: the last prompt token and all queries but the last, as released weights expect.
    package func adapterWindow(_ sample: Int) -> Range<Int> {
        rows(sample, visual + promptLengths[sample] - 1, queries)
    }

    func rows(of tokens: FeatureTap.Tokens, _ sample: Int) -> Range<Int> {
        switch tokens {
        case .visual: visualRows(sample)
        case .visualAndPrompt:
            visualRows(sample).lowerBound..<max(visualRows(sample).upperBound, promptRows(sample).upperBound)
        case .prompt: promptRows(sample)
        case .query: queryRows(sample)
        case .all: rows(sample, 0, length(sample))
        }
    }

    private func rows(_ sample: Int, _ start: Int, _ count: Int) -> Range<Int> {
        let first = sample * tokens + start
        return first..<(first + max(0, count))
    }
}

/// Features that a plugin asked for: tokens of one hidden state or of every layer's, pooled or not.
package struct FeatureTap: Sendable, Equatable, Codable {
    /// Which tokens; raw values are those of the plugin interface.
    package enum Tokens: Int, Sendable, Codable, CaseIterable {
        case visual = 0
        case visualAndPrompt = 1
        case prompt = 2
        case query = 3
        case all = 4
    }

    /// The ``layer`` that stands for the outputs of all decoder layers.
    package static let allLayers = -2

    package var name: String
    /// Index into the hidden states; 0 is the embeddings, the last is normalised. Or ``allLayers``.
    package var layer: Int
    package var tokens: Tokens
    /// 0 keeps every token, zero-padded to the longest sample; else the raw value of a ``Pooling``.
    package var pooling: Int

    package init(name: String, layer: Int, tokens: Tokens, pooling: Int) {
        self.name = name
        self.layer = layer
        self.tokens = tokens
        self.pooling = pooling
    }
}

/// A tapped feature: [batch * tokens, D].
package struct TappedFeature: BitwiseCopyable {
    package let tensor: Tensor
    /// 1 when pooled; for all layers that many times the layers, one layer after the other.
    package let tokens: Int
    /// 1 where a row holds a token, 0 where it pads, [batch, tokens].
    package let mask: Tensor
}

extension FeatureTap {
    /// The last hidden state the tap reads.
    func highestState(layers: Int) -> Int { layer == Self.allLayers ? layers : layer }

    /// Takes the tap out of the hidden states, of which the rows of `demand` are there.
    func apply(to states: ArenaList<Tensor>, layout: SequenceLayout, demand: StateDemand, on tape: Tape)
        -> TappedFeature
    {
        let indices = layer == Self.allLayers ? 1..<states.count : layer..<layer + 1
        let columns = states[0].columns
        if let kind = Pooling(rawValue: pooling) {
            let mask = tape.constant(rows: layout.batch, columns: indices.count)
            mask.values.update(repeating: 1, count: mask.count)
            let pooled = tape.list(indices.count) { place in
                let index = indices.lowerBound + place
                let spans = tape.list(layout.batch) { sample in
                    let span = layout.rows(of: tokens, sample)
                    let first = demand.row(span.lowerBound, ofState: index)
                    return RowRange(first..<first + span.count)
                }
                return tape.poolRows(
                    states[index], spans: spans, pooling: kind, period: demand.isPartial(index) ? nil : layout.tokens)
            }
            guard pooled.count > 1 else { return TappedFeature(tensor: pooled[0], tokens: 1, mask: mask) }
            let rows = tape.list(layout.batch * pooled.count) {
                RowReference(source: $0 % pooled.count, row: $0 / pooled.count)
            }
            let sources = tape.list(pooled.count) { RowSource.tensor(pooled[$0]) }
            return TappedFeature(
                tensor: tape.gatherRows(rows, from: sources, columns: columns), tokens: pooled.count, mask: mask)
        }
        let longest = (0..<layout.batch).lazy.map { layout.rows(of: tokens, $0).count }.max() ?? 0
        let mask = tape.constant(rows: layout.batch, columns: indices.count * longest)
        var rows = tape.list(of: RowReference.self, capacity: mask.count)
        for sample in 0..<layout.batch {
            let span = layout.rows(of: tokens, sample)
            for (source, state) in indices.enumerated() {
                let first = demand.row(span.lowerBound, ofState: state)
                for index in 0..<longest {
                    let isToken = index < span.count
                    mask.values[rows.count] = isToken ? 1 : 0
                    rows.append(isToken ? RowReference(source: source, row: first + index) : .zero)
                }
            }
        }
        let isPartial = indices.contains(where: demand.isPartial)
        let sources = tape.list(indices.count) { RowSource.tensor(states[indices.lowerBound + $0]) }
        return TappedFeature(
            tensor: tape.gatherRows(rows, from: sources, columns: columns, period: isPartial ? nil : layout.tokens),
            tokens: indices.count * longest, mask: mask)
    }
}
