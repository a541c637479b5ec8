internal import PluginRuntime

extension Trainer {
    /// When a run is measured.
    enum Moment: String { case before, during, after }

    /// What a measurement found.
    struct Measures {
        /// By internal name.
        let values: [String: Double]
        /// A plugin that asks for the end of the run, having seen them.
        let stop: StopRequest?

        /// The values under `moment.name`.
        func named(_ moment: Moment) -> [String: Double] {
            Dictionary(uniqueKeysWithValues: values.map { ("\(moment.rawValue).\($0.key)", $0.value) })
        }
    }

    /// Measures the model, logs what was measured and tells plugins.
    ///
    /// After training, the measures under exchanged inputs and of the average come too.
    ///
    /// - Returns: nil when the user stopped it.
    func measure(
        _ moment: Moment, _ shouldStop: () -> Bool, _ report: (TrainingEvent) -> Void
    ) throws -> Measures? {
        let measured: [(name: String, value: Double)]
        do {
            measured = try evaluation.measures(
                of: evaluationData, exchanging: moment == .after, average: moment == .after ? average : nil,
                shouldStop: shouldStop
            ).compactMap { name, value in value.map { (name, $0) } }
        } catch is Evaluation.Stopped {
            report(.note("stopped while measuring at step \(stepsDone)"))
            return nil
        }
        let values = Dictionary(uniqueKeysWithValues: measured.map { ($0.name, $0.value) })
        let told = try step.session.evaluate(values, step: stepsDone)
        for (name, value) in measured + told.metrics.sorted(by: { $0.key < $1.key }).map({ ($0.key, $0.value) }) {
            try appendRow([(name: MetricNames.display(name), value: value)])
            report(.evaluation(name: name, value: value, step: stepsDone))
        }
        return Measures(values: values, stop: told.stop)
    }
}
