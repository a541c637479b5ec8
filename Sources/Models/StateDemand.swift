/// Which hidden states a forward pass has to compute.
struct StateDemand {
    /// States from the embeddings on.
    let states: Int
    /// Rows that alone are computed of the last layer's state; nil: all.
    let lastRows: [Int]?

    /// Everything: the policy reads every state.
    static func all(layers: Int) -> StateDemand { StateDemand(states: layers + 1, lastRows: nil) }

    private init(states: Int, lastRows: [Int]?) {
        self.states = states
        self.lastRows = lastRows
    }

    /// What taps and an answer need.
    init(taps: [FeatureTap], wantsAnswer: Bool, layers: Int, layout: SequenceLayout) {
        let highest = wantsAnswer ? layers : taps.map { $0.highestState(layers: layers) }.max() ?? layers
        // Anchor features must equal those of the full pass bit for bit while the weights do, or rounding would pass for
        // drift at step 0: a matrix product over fewer rows may round differently. So taps get whole states.
        let isTapped = taps.contains { $0.highestState(layers: layers) == layers }
        self.init(
            states: highest + 1,
            lastRows: wantsAnswer && !isTapped ? (0..<layout.batch).map(layout.answerRow) : nil)
    }

    /// Where the answer of sample `sample` is read in the last state.
    func answerRow(_ sample: Int, layout: SequenceLayout) -> Int {
        lastRows == nil ? layout.answerRow(sample) : sample
    }
}
