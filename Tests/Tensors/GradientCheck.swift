import Formats
import Kernels
import Tensors

/// Compares a tape's gradients with central differences.
///
/// Inputs of an operation are parameters, so one backward pass gives the gradient with respect to all of them. The loss
/// is a fixed random projection of the output, summed in Double.
struct GradientCheck {
    /// Shapes of the parameters, in the order in which `build` sees their ids.
    let shapes: [[Int]]
    /// Builds the operation. `tape` has been reset; `inputs` are the parameters' ids.
    let build: (_ tape: Tape, _ inputs: [Int]) -> Tensor
    var threads = 2
    var step: Float = 0x1p-7

    /// The largest difference between analytic and numeric gradient, relative to the largest gradient of each input.
    func worstError(seed: UInt64 = 7) -> Double {
        let parameters = ParameterSet()
        let ids = shapes.enumerated().map { parameters.declare("input\($0)", shape: $1, trainable: true) }
        parameters.seal()
        var generator = RandomGenerator(seed: seed)
        for id in ids {
            for index in 0..<parameters[id].count { parameters.values(id)[index] = Float(generator.normal()) }
        }
        let tape = Tape(parameters: parameters, parallel: Parallel(threads: threads))
        tape.reset(weights: parameters.currentWeights(), recording: true)
        let output = build(tape, ids)
        let projection = (0..<output.count).map { _ in Float(generator.normal()) }
        let gradients = GradientAccumulator(parameters: parameters)
        projection.withUnsafeBufferPointer {
            if let start = $0.baseAddress { tape.backward(seeds: [(output, start)], scale: 1, into: gradients) }
        }

        func loss() -> Double {
            tape.reset(weights: parameters.currentWeights(), recording: false)
            let output = build(tape, ids)
            var sum = 0.0
            for index in 0..<output.count { sum += Double(output.values[index]) * Double(projection[index]) }
            return sum
        }
        var worst = 0.0
        for id in ids {
            let parameter = parameters[id]
            let values = parameters.values(id)
            var differences: [Double] = []
            var scale = 1e-3
            for index in 0..<parameter.count {
                let value = values[index]
                values[index] = value + step
                let up = loss()
                values[index] = value - step
                let down = loss()
                values[index] = value
                let numeric = (up - down) / Double(2 * step)
                let analytic = Double(gradients.values.base[parameter.offset + index])
                differences.append(abs(numeric - analytic))
                scale = max(scale, abs(numeric))
            }
            worst = max(worst, (differences.max() ?? 0) / scale)
        }
        return worst
    }
}

extension Tape {
    /// A parameter as a tensor of rows.
    func rows(of parameter: Int, _ rows: Int, _ columns: Int) -> Tensor {
        gatherRows((0..<rows).map { RowReference(source: 0, row: $0) }, from: [.parameter(parameter)], columns: columns)
    }

    func gatherRows(
        _ rows: [RowReference], adding addends: [RowReference]? = nil, from sources: [RowSource], columns: Int
    ) -> Tensor {
        gatherRows(list(rows), adding: addends.map { list($0) }, from: list(sources), columns: columns)
    }
}
