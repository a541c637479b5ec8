/// Rules on the inner products of gradients of two independent batches, `A_ij = <g_i, g'_j>`: what a batch's own noise adds to
/// a Gram matrix is not in them. `A` is not symmetric.
public struct CrossGram {
    private let size: Int
    private let entries: [Double]

    /// - Parameter entry: the inner product of objective i's gradient on the first batch and objective j's on the second.
    public init(size: Int, entry: (Int, Int) -> Double) {
        self.size = size
        entries = (0..<size * size).map { entry($0 / size, $0 % size) }
    }

    /// `A x`
    private func times(_ x: [Double]) -> [Double] {
        (0..<size).map { i in (0..<size).reduce(0) { $0 + entries[i * size + $1] * x[$1] } }
    }

    /// The next weights of MoDo (Chen, Fernando et al., Three-Way Trade-Off in Multi-Objective Learning, JMLR 2024):
    ///
    ///     w <- P(w - rate (A w + rho w))                P: the projection to the simplex
    ///
    /// - Parameter weights: the last step's; one over the number of objectives to begin with.
    public func moDo(_ weights: [Double], rate: Double, rho: Double) -> [Double] {
        let pull = times(weights)
        return projectOntoSimplex(weights.indices.map { weights[$0] - rate * (pull[$0] + rho * weights[$0]) })
    }

    /// SDMGrad's settings, as published code has them.
    public struct DirectionOriented {
        /// Step size of the iterations.
        public var rate = 10.0
        /// Share of the last iteration's step that the next one keeps.
        public var momentum = 0.5
        /// How many there are.
        public var iterations = 20
        /// Pull towards the preferred direction.
        public var strength = 0.3
        /// The published values.
        public init() {}
    }

    /// SDMGrad (Xiao, Ban and Ji, Direction-oriented Multi-objective Learning, arXiv 2305.18409):
    ///
    ///     v <- momentum v + A / s^2 (w + strength p)         w <- P(w - rate v)          so many times
    ///     weights = (w + strength p) / (1 + strength)
    ///
    /// `s` is the mean of the roots of what is positive in A's diagonal; where nothing is, `w` stays.
    ///
    /// - Parameters:
    ///   - last: `w` of the last step; one over the number of objectives to begin with.
    ///   - preference: `p`, of sum 1.
    /// - Returns: `w`, to be kept, and the weights of the gradients, which are those of a third batch or of both.
    public func directionOriented(
        _ last: [Double], preference: [Double], _ settings: DirectionOriented = DirectionOriented()
    ) -> (kept: [Double], weights: [Double]) {
        let lengths = (0..<size).map { max(entries[$0 * (size + 1)], 0).squareRoot() }
        let length = lengths.reduce(0, +) / Double(size)
        var w = last
        if length > 0 {
            var velocity = [Double](repeating: 0, count: size)
            for _ in 0..<settings.iterations {
                let pull = times((0..<size).map { (w[$0] + settings.strength * preference[$0]) / length })
                velocity = (0..<size).map { settings.momentum * velocity[$0] + pull[$0] / length }
                w = projectOntoSimplex((0..<size).map { w[$0] - settings.rate * velocity[$0] })
            }
        }
        return (w, (0..<size).map { (w[$0] + settings.strength * preference[$0]) / (1 + settings.strength) })
    }
}
