package import FoundationEssentials

extension HookSession {
    /// Everything that a conversation carries from step to step.
    package struct State {
        /// By objective.
        package var multipliers: [String: Double]
        /// Each instance's own bytes.
        package var plugins: [String: Data]
        /// What `name@prev` reads next.
        package var previousValues: Data
        /// Factors on the learning rate by parameter group, as hooks set them last.
        package var rateScales: [String: Double]

        package init(
            multipliers: [String: Double], plugins: [String: Data], previousValues: Data,
            rateScales: [String: Double] = [:]
        ) {
            self.multipliers = multipliers
            self.plugins = plugins
            self.previousValues = previousValues
            self.rateScales = rateScales
        }
    }

    /// The state between two steps; equal states give equal bytes. Throws ``PluginStateError``.
    package func save() throws -> State {
        State(
            multipliers: Dictionary(uniqueKeysWithValues: zip(objectives, multipliers)),
            plugins: try composition.saveState(), previousValues: try values.savePrevious(),
            rateScales: decisions.rateScales)
    }

    /// Restores what ``save()`` gave.
    ///
    /// - Parameter kept: the instances that go on with their saved state; nil: all, and there may be no others.
    package func restore(_ state: State, of kept: Set<String>? = nil) throws {
        if let kept {
            try composition.loadState(state.plugins, of: kept)
        } else {
            try composition.loadState(state.plugins)
        }
        try values.loadPrevious(state.previousValues)
        for (objective, value) in state.multipliers where objectives.contains(objective) {
            values.set("lambda.\(objective)", value)
        }
        restoreRateScales(state.rateScales)
    }
}
