internal import Kernels
internal import Models
internal import Tensors

/// Where the gradient of each objective goes, as `plan` hooks routed it.
struct ObjectiveRoutes {
    /// By row.
    let routes: [GradientRoute]
    /// By row: the factor of each parameter whose gradient is scaled, 0 and 1 aside.
    private let factors: [[(parameter: Parameter, factor: Float)]]

    /// - Parameter decisions: by row, factors by parameter group.
    init(_ decisions: [[String: Double]], of parameters: ParameterSet) {
        routes = decisions.map { Self.route($0, parameters) }
        factors = decisions.map { factors in
            parameters.parameters.compactMap { parameter in
                guard parameter.isTrainable, let group = ParameterGroup(of: parameter.name),
                    let factor = factors[group.rawValue], factor != 0, factor != 1
                else { return nil }
                return (parameter, Float(factor))
            }
        }
    }

    /// A group is cut where its factor is 0; the pass ends above the last part of the model in which nothing is left.
    private static func route(_ factors: [String: Double], _ parameters: ParameterSet) -> GradientRoute {
        let cut = Set(factors.filter { $0.value == 0 }.keys)
        guard !cut.isEmpty else { return .everywhere }
        func isCut(_ groups: [ParameterGroup]) -> Bool { groups.allSatisfy { cut.contains($0.rawValue) } }
        let first: ForwardStage =
            !isCut([.vision])
            ? .vision : !isCut([.projector]) ? .projector : !isCut([.decoder, .queries]) ? .decoder : .policy
        return GradientRoute(
            firstStage: first.rawValue,
            excluded: parameters.parameters.map { parameter in
                ParameterGroup(of: parameter.name).map { cut.contains($0.rawValue) } ?? false
            })
    }

    /// Multiplies the parts of a gradient that are scaled.
    func scale(_ gradient: GradientAccumulator, row: Int, _ parallel: Parallel) {
        let factors = factors[row]
        parallel.ranges(factors.count, grain: 1) { range in
            for (parameter, factor) in factors[range] where gradient.isReached[parameter.id] {
                let values = gradient.values.base + parameter.offset
                ck_scale(factor, values, parameter.count, values)
            }
        }
    }
}
