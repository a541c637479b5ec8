/// Which parameters a backward pass gives gradients to.
package struct GradientRoute: Sendable {
    /// The first stage of the forward pass (``Tape/stage``) that runs backwards; what came before it is left out.
    package let firstStage: Int
    /// By parameter id; empty: none is left out by itself.
    private let excluded: [Bool]

    /// - Parameter excluded: by parameter id, those that get no gradient though the pass goes through them.
    package init(firstStage: Int = 0, excluded: [Bool] = []) {
        self.firstStage = firstStage
        self.excluded = excluded
    }

    package static let everywhere = GradientRoute()

    func leavesOut(_ id: Int) -> Bool { !excluded.isEmpty && excluded[id] }
}
