import Tensors
import Testing

/// Products in bfloat16 against those in float32, on operands that bfloat16 holds exactly: then they differ by the order
/// of summation alone.
@Suite(.enabled(if: BFloat16Products.isSupported)) struct BFloat16ProductTests {
    /// Results and gradients of two linear layers, one after the other.
    private func results(_ products: BFloat16Products?, rows: Int, scaling: Float = 1) -> [Float] {
        let parameters = ParameterSet()
        let first = parameters.declare("first", shape: [96, 80], trainable: true)
        let bias = parameters.declare("bias", shape: [96], trainable: true)
        let second = parameters.declare("second", shape: [112, 96], trainable: true)
        parameters.seal()
        for id in [first, bias, second] {
            for index in 0..<parameters[id].count { parameters.values(id)[index] = Float((index * 7) % 15 - 7) / 8 }
        }
        let tape = Tape(parameters: parameters, parallel: Parallel(threads: 2, products: products))
        tape.reset(weights: parameters.currentWeights(), recording: true)
        let x = tape.constant(rows: rows, columns: 80)
        for index in 0..<x.count { x.values[index] = Float((index * 5) % 11 - 5) / 4 * scaling }
        let hidden = tape.linear(x, weight: first, bias: bias)
        let firstResult = Array(UnsafeBufferPointer(start: hidden.values, count: hidden.count))
        // Replaced, so that the second product's operands are exact too.
        for index in 0..<hidden.count { hidden.values[index] = Float((index * 3) % 13 - 6) / 2 }
        let y = tape.linear(hidden, weight: second)
        let cotangent = (0..<y.count).map { Float(($0 * 11) % 9 - 4) / 2 }
        let gradients = GradientAccumulator(parameters: parameters)
        cotangent.withUnsafeBufferPointer { values in
            guard let start = values.baseAddress else { return }
            tape.backward(seeds: [(y, start)], scale: 1, into: gradients)
        }
        let secondGradient = gradients.values.base + parameters[second].offset
        return firstResult + Array(UnsafeBufferPointer(start: y.values, count: y.count))
            + Array(UnsafeBufferPointer(start: secondGradient, count: parameters[second].count))
            + Array(UnsafeBufferPointer(start: gradients.values.base + parameters[bias].offset, count: 96))
    }

    @Test(arguments: [160, 250, 333]) func equalsFloat32(_ rows: Int) throws {
        let expected = results(nil, rows: rows)
        let products = try BFloat16Products()
        let found = results(products, rows: rows)
        let scale = expected.reduce(Float(0)) { max($0, abs($1)) }
        let worst = zip(expected, found).reduce(Float(0)) { max($0, abs($1.0 - $1.1)) }
        #expect(scale > 1 && worst / scale < 1e-5)
        // Another shape, and the first again.
        _ = results(products, rows: 192)
        #expect(results(products, rows: rows) == found)
    }

    @Test func roundsItsOperands() throws {
        // Thirds are no bfloat16.
        let expected = results(nil, rows: 256, scaling: 1 / 3).prefix(256 * 96)
        let found = results(try BFloat16Products(), rows: 256, scaling: 1 / 3).prefix(256 * 96)
        let scale = expected.reduce(Float(0)) { max($0, abs($1)) }
        let worst = zip(expected, found).reduce(Float(0)) { max($0, abs($1.0 - $1.1)) }
        #expect(worst / scale > 1e-5 && worst / scale < 1e-2)
    }
}
