internal import Tensors

/// Which hidden states a forward pass has to compute (docs/ENGINE.md, "Demanded states").
struct StateDemand {
    /// States from the embeddings on.
    let states: Int
    /// Rows that alone are computed of the last layer's state, ascending; nil: all.
    let lastRows: ArenaList<Int32>?
    private let layers: Int

    /// Everything: the policy reads every state.
    static func all(layers: Int) -> StateDemand { StateDemand(states: layers + 1, lastRows: nil, layers: layers) }

    private init(states: Int, lastRows: ArenaList<Int32>?, layers: Int) {
        self.states = states
        self.lastRows = lastRows
        self.layers = layers
    }

    /// What taps and answers need.
    ///
    /// - `answers`: rows at which answers are read; empty: none are.
    /// - `rowwise`: whether a row of a matrix product does not depend on which others are computed with it. Anchor features
    ///   must equal those of the full pass bit for bit while the weights do, or rounding would pass for drift at step 0: so
    ///   without it taps get whole states.
    init(
        taps: [FeatureTap], answers: ArenaList<Int32>, layers: Int, layout: SequenceLayout, rowwise: Bool,
        on tape: Tape
    ) {
        let wantsAnswer = !answers.isEmpty
        let last = taps.lazy.filter { $0.highestState(layers: layers) == layers }
        var rows: ArenaList<Int32>?
        if last.isEmpty || rowwise, !last.isEmpty || wantsAnswer {
            let isRead = tape.list(layout.batch * layout.tokens) { _ in false }
            for sample in 0..<layout.batch {
                for tap in last {
                    for row in layout.rows(of: tap.tokens, sample) { isRead[row] = true }
                }
            }
            for row in answers { isRead[Int(row)] = true }
            var read = tape.list(of: Int32.self, capacity: isRead.count)
            for row in isRead.indices where isRead[row] { read.append(Int32(row)) }
            rows = read.count < isRead.count ? read : nil
        }
        let highest = wantsAnswer ? layers : taps.lazy.map { $0.highestState(layers: layers) }.max() ?? layers
        self.init(states: highest + 1, lastRows: rows, layers: layers)
    }

    /// Whether of state `index` only some rows are there.
    func isPartial(_ index: Int) -> Bool { index == layers && lastRows != nil }

    /// Where row `row` of all rows is in state `index`; it has to be one that is computed.
    func row(_ row: Int, ofState index: Int) -> Int {
        guard let lastRows, index == layers else { return row }
        var (low, high) = (0, lastRows.count)
        while low < high {
            let middle = (low + high) / 2
            if Int(lastRows[middle]) < row { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
