extension Draw {
    /// A number for the sample, the same in every epoch and run: `episode * 10^6 + step`, and of the data sets of a mixture
    /// 10^15 times the data set's place more.
    var sampleID: Int64 { Int64(part) * 1_000_000_000_000_000 + Int64(episode) * 1_000_000 + Int64(step) }
}

extension DemonstrationSampler {
    /// Every instruction that is trained on, sorted.
    package var instructions: [String] {
        Set(
            zip(maker.parts, selections).flatMap { part, selection in
                selection.training.map { part.dataset.episodes[$0].instruction }
            }
        ).sorted()
    }
}
